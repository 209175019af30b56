package reader

import (
	"context"
	"math/rand/v2"
	"sync/atomic"
	"testing"

	"github.com/walvfs/walvfs/format"
	"github.com/walvfs/walvfs/shipper/storage/storagetest"
)

// counted counts the reads of objects and the listings of a store.
func counted(store *storagetest.Memory) (opens, lists *atomic.Int64) {
	opens, lists = new(atomic.Int64), new(atomic.Int64)
	store.SetBefore(func(_ context.Context, op, _ string) error {
		if op == "open" {
			opens.Add(1)
		} else {
			lists.Add(1)
		}
		return nil
	})
	return opens, lists
}

// largeReplica has a snapshot whose index is larger than the part that is read first, and
// a large later file.
func largeReplica(t *testing.T) (store *storagetest.Memory, state []format.TXID) {
	t.Helper()
	store = &storagetest.Memory{Name: "large"}
	state = make([]format.TXID, 14000)
	for i := range state {
		state[i] = 1
	}
	put(t, store, 9, encode(t, 1, 1, uint32(len(state)), state))
	for i := range state {
		if i%9 == 0 {
			state[i] = 2
		}
	}
	put(t, store, 0, encode(t, 2, 2, uint32(len(state)), state))
	return store, state
}

// A large replica opens with one listing and both ends of each file. A page costs two
// requests, and one once the index is loaded.
func TestLargeReplica(t *testing.T) {
	store, state := largeReplica(t)
	opens, lists := counted(store)
	s := testSource(store)
	defer s.pages.cancel()
	v := newestView(t, s)
	if lists.Load() != 1 || opens.Load() > 5 { // the index of a file of changes is read whole
		t.Errorf("an open costs %d listings and %d reads", lists.Load(), opens.Load())
	}
	if v.base.windows == nil {
		t.Fatal("the index of the snapshot was read whole")
	}
	page := make([]byte, testPageSize)
	read := func(pgno uint32) int64 {
		t.Helper()
		opens.Store(0)
		if err := s.pages.read(t.Context(), v, pgno, page); err != nil {
			t.Fatal(err)
		}
		if string(page) != string(content(pgno, state[pgno-1])) {
			t.Fatalf("page %d is not that of TXID %d", pgno, state[pgno-1])
		}
		return opens.Load()
	}
	if n := read(2); n != 0 {
		t.Errorf("a page at the file's beginning costs %d reads", n)
	}
	rng := rand.New(rand.NewPCG(1, 1))
	for range 30 {
		if n := read(1 + rng.Uint32N(14000)); n > 2 {
			t.Errorf("a page costs %d reads", n)
		}
	}
	s.loadIndex(v.base)
	s.pages.background.Wait()
	if v.base.loaded.Load() == nil {
		t.Fatal("the index is not loaded")
	}
	for range 100 {
		if n := read(1 + rng.Uint32N(14000)); n > 1 {
			t.Errorf("a page costs %d reads once the index is loaded", n)
		}
	}
	requireState(t, s, v, state)
}
