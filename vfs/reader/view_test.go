package reader

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"log/slog"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/ncruces/go-sqlite3/vfs"

	"github.com/walvfs/walvfs/format"
	"github.com/walvfs/walvfs/shipper/replica"
	"github.com/walvfs/walvfs/shipper/storage"
	"github.com/walvfs/walvfs/shipper/storage/storagetest"
)

const testPageSize = 512

// content is a page that a TXID changed last.
func content(pgno uint32, txid format.TXID) []byte {
	page := make([]byte, testPageSize)
	binary.BigEndian.PutUint32(page[100:], pgno)
	binary.BigEndian.PutUint64(page[200:], uint64(txid))
	return page
}

// encode returns an LTX file whose pages were last changed by the given TXIDs; 0 leaves a
// page out.
func encode(t *testing.T, minTXID, maxTXID format.TXID, commit uint32, changed []format.TXID) []byte {
	t.Helper()
	var b bytes.Buffer
	enc, err := format.NewEncoder(&b, format.LTXHeader{PageSize: testPageSize, Commit: commit, MinTXID: minTXID, MaxTXID: maxTXID, Timestamp: 1000 * int64(maxTXID)})
	if err != nil {
		t.Fatal(err)
	}
	for i, txid := range changed[:commit] {
		if txid >= minTXID {
			if err := enc.Page(uint32(i+1), content(uint32(i+1), txid)); err != nil {
				t.Fatal(err)
			}
		}
	}
	if _, err := enc.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func put(t *testing.T, store storage.Store, level int, b []byte) {
	t.Helper()
	h, err := format.ParseLTXHeader(b)
	if err == nil {
		err = store.Create(t.Context(), store.Layout().Key(level, h.MinTXID, h.MaxTXID), bytes.NewReader(b), storage.Attrs{Time: time.UnixMilli(h.Timestamp)})
	}
	if err != nil {
		t.Fatal(err)
	}
}

func testSource(store storage.Store) *source {
	s := newSource(sourceKey{timeout: time.Second}, store, slog.New(slog.DiscardHandler))
	s.pages.cache.grow(defaultMemory)
	return s
}

// newestView returns the newest state of a source.
func newestView(t *testing.T, s *source) *view {
	t.Helper()
	v, err := s.newest(t.Context(), 0)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// A database grows, shrinks and grows again, in files of any levels. At each TXID, each
// page has its last content, and no old content comes back.
func TestViewsOfRandomHistories(t *testing.T) {
	for seed := range uint64(12) {
		rng := rand.New(rand.NewPCG(seed, 1))
		store := &storagetest.Memory{Name: "app"}
		const last = 30
		states := [][]format.TXID{nil} // by TXID: of each page, the TXID that changed it last
		for txid := format.TXID(1); txid <= last; txid++ {
			old := states[txid-1]
			state := make([]format.TXID, 1+rng.IntN(60))
			for i := range state {
				switch {
				case i >= len(old), rng.IntN(12) == 0:
					state[i] = txid
				default:
					state[i] = old[i]
				}
			}
			states = append(states, state)
			put(t, store, 0, encode(t, txid, txid, uint32(len(state)), state))
			for _, level := range []int{1, 2, 3, 9} {
				if rng.IntN(4*(level+1)) > 0 {
					continue
				}
				from := txid
				if level == 9 {
					from = 1
				} else if txid > 1 {
					from -= format.TXID(rng.IntN(min(int(txid), 3*level)))
				}
				// A compacted file has the newest content of every page that changed,
				// including pages that were cut off and came back.
				put(t, store, level, encode(t, from, txid, uint32(len(state)), state))
			}
		}
		s := testSource(store)
		files, err := s.replica.Files(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		var grown *view
		for txid := format.TXID(1); txid <= last; txid++ {
			v, err := s.build(t.Context(), files, txid)
			if err != nil {
				t.Fatal(err)
			}
			requireState(t, s, v, states[txid])

			// The same, but one level 0 file after another.
			if grown == nil {
				grown = v
				continue
			}
			at := replica.File{}
			for _, f := range files {
				if f.Level == 0 && f.MaxTXID == txid {
					at = f
				}
			}
			f, err := s.load(t.Context(), at)
			if err != nil {
				t.Fatal(err)
			}
			grown = grown.with(f)
			requireState(t, s, grown, states[txid])
		}
		if len(grown.layers) > 12 {
			t.Errorf("%d layers", len(grown.layers))
		}
	}
}

func requireState(t *testing.T, s *source, v *view, state []format.TXID) {
	t.Helper()
	if int(v.commit) != len(state) {
		t.Fatalf("TXID %s: %d pages, want %d", v.txid, v.commit, len(state))
	}
	page := make([]byte, testPageSize)
	for i, txid := range state {
		pgno := uint32(i + 1)
		if err := s.pages.read(t.Context(), v, pgno, page); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(page, content(pgno, txid)) {
			t.Fatalf("TXID %s: page %d is not that of TXID %s", v.txid, pgno, txid)
		}
	}
}

// A page that was cut off, and that no later file has although the database has grown
// over it, is an error: its old content is not the database's.
func TestCutOffPagesDoNotComeBack(t *testing.T) {
	for _, merged := range []bool{false, true} {
		store := &storagetest.Memory{Name: "app"}
		full := []format.TXID{1, 1, 1, 1, 1, 1}
		put(t, store, 0, encode(t, 1, 1, 6, full))
		put(t, store, 0, encode(t, 2, 2, 6, []format.TXID{1, 1, 2, 2, 2, 2}))
		put(t, store, 0, encode(t, 3, 3, 3, []format.TXID{1, 1, 3}))
		changed := []format.TXID{1, 1, 3, 4, 0, 4}
		if merged {
			changed = []format.TXID{4, 4, 4, 4, 0, 4}
		}
		put(t, store, 0, encode(t, 4, 4, 6, changed))
		s := testSource(store)
		v := newestView(t, s)
		if _, err := v.find(context.Background(), 5); !errors.Is(err, format.ErrCorrupt) {
			t.Errorf("page 5: %v", err)
		}
		if at, err := v.find(context.Background(), 4); err != nil || at.file.header.MaxTXID != 4 {
			t.Errorf("page 4: %v, %v", at, err)
		}
	}
}

// encodeSized is encode with another page size, and with empty pages.
func encodeSized(t *testing.T, pageSize uint32, minTXID, maxTXID format.TXID, commit uint32, pages ...uint32) []byte {
	t.Helper()
	var b bytes.Buffer
	enc, err := format.NewEncoder(&b, format.LTXHeader{PageSize: pageSize, Commit: commit, MinTXID: minTXID, MaxTXID: maxTXID, Timestamp: 1000 * int64(maxTXID)})
	if err != nil {
		t.Fatal(err)
	}
	for _, pgno := range pages {
		if err := enc.Page(pgno, make([]byte, pageSize)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := enc.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// A file of another page size cannot follow. Other files replace it, at an open and after
// a known state; without other files, it is an error.
func TestPageSizesAreNotMixed(t *testing.T) {
	store := &storagetest.Memory{Name: "app"}
	put(t, store, 0, encode(t, 1, 1, 4, []format.TXID{1, 1, 1, 1}))
	s := testSource(store)
	known := newestView(t, s)
	put(t, store, 0, encodeSized(t, 2*testPageSize, 2, 2, 4, 1))
	if v, err := s.newest(t.Context(), 0); err != nil || v != known || !errors.Is(s.lastError(), format.ErrCorrupt) || !strings.Contains(s.lastError().Error(), "page size") {
		t.Errorf("beside a known state: TXID %v, %v, %v", v, err, s.lastError())
	}
	if _, err := testSource(store).newest(t.Context(), 0); !errors.Is(err, format.ErrCorrupt) || !strings.Contains(err.Error(), "page size") {
		t.Errorf("at an open: %v", err)
	}
	state := []format.TXID{2, 1, 1, 2}
	put(t, store, 9, encode(t, 1, 2, 4, state))
	readAll(t, testSource(store), state)
}

// A transaction keeps its view if SQLite locks the file again, as it does after an unlock
// that failed.
func TestLockKeepsTheView(t *testing.T) {
	store := &storagetest.Memory{Name: "app"}
	history(t, store, 3, 40)
	s := testSource(store)
	c := &conn{source: s}
	for want := format.TXID(3); want < 6; want++ {
		lock := func() {
			t.Helper()
			if err := c.Lock(vfs.LOCK_SHARED); err != nil || c.view.txid != want {
				t.Fatalf("TXID %s, want %s: %v", c.view.txid, want, err)
			}
		}
		lock()
		put(t, store, 0, encode(t, want+1, want+1, 40, make([]format.TXID, 40)))
		if v, err := s.newest(t.Context(), 0); err != nil || v.txid != want+1 {
			t.Fatalf("another connection sees TXID %s, %v", v.txid, err)
		}
		lock()
		if err := c.Unlock(vfs.LOCK_NONE); err != nil {
			t.Fatal(err)
		}
	}
}
