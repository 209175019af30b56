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

// A replica that is written anew is not mixed with what was read of it before, and takes
// no connection back to an older TXID.
func TestHistoriesAreNotMixed(t *testing.T) {
	store := &storagetest.Memory{Name: "app"}
	s := testSource(store)
	state := history(t, store, 5, 40)
	readAll(t, s, state)

	empty(t, store)
	shorter := history(t, store, 3, 30)
	s.asked = time.Now().Add(-2 * listWithin) // as after a long time without a question
	readAll(t, s, state)
	if err := s.lastError(); err == nil || !strings.Contains(err.Error(), "written anew") {
		t.Errorf("a replica that went back: %v", err)
	}
	readAll(t, testSource(store), shorter)

	empty(t, store)
	longer := history(t, store, 8, 20)
	s.pause = time.Time{}
	s.asked = time.Now()
	readAll(t, s, longer)
}
