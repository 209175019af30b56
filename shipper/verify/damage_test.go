package verify

import (
	"bytes"
	"io"
	"runtime"
	"strings"
	"testing"

	"github.com/walvfs/walvfs/format"
	"github.com/walvfs/walvfs/shipper/storage"
	"github.com/walvfs/walvfs/shipper/storage/storagetest"
)

// damage changes the last byte of an object.
func damage(t *testing.T, store storage.Store, key string) {
	t.Helper()
	r, _, err := store.Open(t.Context(), key, 0, -1)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	b, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	b[len(b)-1] ^= 1
	store.Delete(t.Context(), key)
	if err := store.Create(t.Context(), key, bytes.NewReader(b), storage.Attrs{}); err != nil {
		t.Fatal(err)
	}
}

// The result names a damaged file, and the TXIDs that only it leads to: the newest TXID
// can be restored if other files lead to it.
func TestCost(t *testing.T) {
	file := func(level int, lo, hi format.TXID) format.FileInfo {
		return format.FileInfo{Level: level, MinTXID: lo, MaxTXID: hi}
	}
	for _, test := range []struct {
		name       string
		from       format.TXID // where level 0 begins
		damaged    format.FileInfo
		restorable format.TXID
		lost       int
		cost       string
	}{
		{"level 2, and others have it", 1, file(2, 7, 12), 20, 0, "nothing: other files"},
		{"a snapshot, and others have it", 1, file(9, 1, 19), 20, 0, "nothing: other files"},
		{"level 0, and level 1 has it", 1, file(0, 8, 8), 20, 1, "TXID 0000000000000008 cannot be restored without it"},
		{"level 1, in the middle, without level 0", 16, file(1, 13, 15), 20, 3, "3 TXIDs, from 000000000000000f to 0000000000000011, cannot be restored without it"},
		{"the newest", 1, file(0, 20, 20), 19, 1, "TXID 0000000000000014 cannot be restored without it"},
	} {
		t.Run(test.name, func(t *testing.T) {
			store := newHistory(5, 20).replica(t, test.from)
			key := store.Layout().Key(test.damaged.Level, test.damaged.MinTXID, test.damaged.MaxTXID)
			damage(t, store, key)
			r := verifyStore(t, store)
			if r.OK || r.Restorable != test.restorable || r.Lost != test.lost {
				t.Errorf("%+v", r)
			}
			if p := r.Problems[0]; p.Key != key || !strings.Contains(p.Problem, "corrupt") || !strings.HasPrefix(p.Cost, test.cost) {
				t.Errorf("%+v", p)
			}
		})
	}
}

// A wrong page number does not make Run allocate memory for the pages before it.
func TestForgedPageNumber(t *testing.T) {
	store := &storagetest.Memory{Name: "test"}
	put := func(txid format.TXID, commit uint32, pages ...uint32) {
		var b bytes.Buffer
		enc, err := format.NewEncoder(&b, format.LTXHeader{PageSize: testPageSize, Commit: commit, MinTXID: txid, MaxTXID: txid, Timestamp: 1})
		if err != nil {
			t.Fatal(err)
		}
		for _, number := range pages {
			if err := enc.Page(number, make([]byte, testPageSize)); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := enc.Close(); err != nil {
			t.Fatal(err)
		}
		if err := store.Create(t.Context(), store.Layout().Key(0, txid, txid), bytes.NewReader(b.Bytes()), storage.Attrs{}); err != nil {
			t.Fatal(err)
		}
	}
	put(1, 2, 1, 2)
	put(2, 4294967280, 4294967279)
	put(3, 1, 1)
	put(4, 4294967280, 4294967279)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	r := verifyStore(t, store)
	runtime.ReadMemStats(&after)
	if n := after.TotalAlloc - before.TotalAlloc; n > 16<<20 {
		t.Errorf("%d bytes were allocated", n)
	}
	if r.Restorable != 1 || len(r.Problems) == 0 || !strings.Contains(r.Problems[0].Problem, "page 3 is not in it") {
		t.Errorf("%+v", r)
	}
}
