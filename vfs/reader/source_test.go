package reader

import (
	"strings"
	"testing"
	"time"

	"github.com/walvfs/walvfs/format"
	"github.com/walvfs/walvfs/shipper/storage/storagetest"
)

// history puts level 0 files of a database into a store, and returns its last state.
func history(t *testing.T, store *storagetest.Memory, last format.TXID, pages int) (state []format.TXID) {
	t.Helper()
	state = make([]format.TXID, pages)
	for txid := format.TXID(1); txid <= last; txid++ {
		for i := range state {
			if txid == 1 || (i+pages/20)%int(txid) == 0 {
				state[i] = txid
			}
		}
		put(t, store, 0, encode(t, txid, txid, uint32(pages), state))
	}
	return state
}

func empty(t *testing.T, store *storagetest.Memory) {
	t.Helper()
	for obj, err := range store.List(t.Context(), "", "") {
		if err == nil {
			err = store.Delete(t.Context(), obj.Key)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// A replaced replica is not mixed with pages read before, and moves no connection back to
// an older TXID.
func TestHistoriesAreNotMixed(t *testing.T) {
	store := &storagetest.Memory{Name: "app"}
	s := testSource(store)
	state := history(t, store, 5, 40)
	readAll(t, s, state)

	empty(t, store)
	shorter := history(t, store, 3, 30)
	s.asked = time.Now().Add(-2 * listWithin) // as after a long time without a question
	readAll(t, s, state)
	if err := s.lastError(); err == nil || !strings.Contains(err.Error(), "was replaced") {
		t.Errorf("a replica that went back: %v", err)
	}
	readAll(t, testSource(store), shorter)

	empty(t, store)
	longer := history(t, store, 8, 20)
	s.pause = time.Time{}
	s.asked = time.Now()
	readAll(t, s, longer)
}

// A program that removes level 0 files immediately may remove the next file before the
// reader asks for it. So the reader lists all levels now and then, and keeps its state if
// that is still the newest.
func TestNextFileIsGone(t *testing.T) {
	store := &storagetest.Memory{Name: "app"}
	state := history(t, store, 3, 40)
	s := testSource(store)
	readAll(t, s, state)
	known := s.latest
	s.whole = time.Now().Add(-2 * wholeEvery)
	if v, err := s.newest(t.Context(), 0); err != nil || v != known {
		t.Errorf("without news: another view of TXID %s, %v", v.txid, err)
	}
	for txid := format.TXID(4); txid <= 5; txid++ {
		for i := range state {
			if i%int(txid) == 0 {
				state[i] = txid
			}
		}
		put(t, store, 0, encode(t, txid, txid, 40, state))
	}
	put(t, store, 1, encode(t, 4, 5, 40, state))
	if err := store.Delete(t.Context(), store.Layout().Key(0, 4, 4)); err != nil {
		t.Fatal(err)
	}
	opens, lists := counted(store)
	if _, err := s.newest(t.Context(), 0); err != nil || opens.Load() != 1 || lists.Load() != 0 {
		t.Errorf("%d reads and %d listings, %v", opens.Load(), lists.Load(), err)
	}
	s.whole = time.Now().Add(-2 * wholeEvery)
	readAll(t, s, state)
}
