package reader

import (
	"context"
	"errors"
	"math/rand/v2"
	"testing"

	"github.com/RoaringBitmap/roaring/v2"
	"github.com/ncruces/go-sqlite3"

	"github.com/walvfs/walvfs/format"
	"github.com/walvfs/walvfs/shipper/replica"
	"github.com/walvfs/walvfs/shipper/storage/storagetest"
)

// Pages that between does not return are the same at both TXIDs, and the view built on
// the earlier view equals the later view. between returns nil only if no chain of files
// leads from one TXID to the other.
func TestChangesOfRandomHistories(t *testing.T) {
	for seed := range uint64(8) {
		rng := rand.New(rand.NewPCG(seed, 2))
		store := &storagetest.Memory{Name: "app"}
		const last = 16
		states := [][]format.TXID{nil}    // by TXID: of each page, the TXID that changed it last
		begins := map[format.TXID][]int{} // of files except snapshots, by the TXID at which they end
		for txid := format.TXID(1); txid <= last; txid++ {
			state := make([]format.TXID, 1+rng.IntN(40))
			for i := range state {
				if state[i] = txid; i < len(states[txid-1]) && rng.IntN(8) > 0 {
					state[i] = states[txid-1][i]
				}
			}
			states = append(states, state)
			if txid == 1 || rng.IntN(5) == 0 {
				put(t, store, format.LevelSnapshot, encode(t, 1, txid, uint32(len(state)), state))
			}
			for level := range 3 {
				from := txid
				if level > 0 {
					from -= format.TXID(rng.IntN(min(int(txid), 4*level)))
				}
				if from == 1 || rng.IntN(3) == 0 {
					continue
				}
				put(t, store, level, encode(t, from, txid, uint32(len(state)), state))
				begins[txid] = append(begins[txid], int(from))
			}
		}
		s := testSource(store)
		files, err := s.replica.Files(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		points := files.Restorable()
		for _, to := range points {
			reach := map[format.TXID]bool{to: true} // TXIDs from which a chain leads to TXID to
			for txid := to; txid > 0; txid-- {
				for _, from := range begins[txid] {
					for before := format.TXID(from - 1); reach[txid] && before < txid; before++ {
						reach[before] = true
					}
				}
			}
			for _, from := range points {
				if from <= to {
					requireChanges(t, s, files, from, to, states, reach[from])
				}
			}
		}
	}
}

func requireChanges(t *testing.T, s *source, files replica.Files, from, to format.TXID, states [][]format.TXID, known bool) {
	t.Helper()
	a, err := s.build(t.Context(), files, from)
	if err != nil {
		t.Fatal(err)
	}
	b, err := s.build(t.Context(), files, to)
	if err != nil {
		t.Fatal(err)
	}
	changed, v, err := s.between(t.Context(), a, b)
	if err != nil {
		t.Fatal(err)
	}
	if (changed != nil) != known || (v != nil) != known {
		t.Fatalf("TXID %s to %s: known %t, want %t", from, to, changed != nil, known)
	}
	if !known {
		return
	}
	requireState(t, s, v, states[to])
	for i := range min(len(states[from]), len(states[to])) {
		if states[from][i] != states[to][i] && !changed.Contains(uint32(i+1)) {
			t.Fatalf("TXID %s to %s: page %d is not among those that differ", from, to, i+1)
		}
	}
}

// StateOf fails for a connection that is not open on a replica.
func TestStateOfOthers(t *testing.T) {
	conn, err := sqlite3.Open(":memory:")
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := StateOf(conn); err == nil {
		t.Error("a database in memory has a state")
	}
}

// A comparison of many changes waits for the index. After a cancelled comparison, another
// one can load the index. If the index cannot be read, the pages are found in its
// windows.
func TestIndexOfAComparison(t *testing.T) {
	store, state := largeReplica(t)
	s := testSource(store)
	defer s.pages.cancel()
	v := newestView(t, s)
	many := roaring.New()
	many.AddRange(1, 1000)

	cause := errors.New("given up")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(cause)
	if err := s.prepare(ctx, v.base, many); err != cause || v.base.loaded.Load() != nil {
		t.Errorf("a comparison that was given up: %v, and the index is %v", err, v.base.loaded.Load())
	}

	opens := 0
	store.SetBefore(func(context.Context, string, string) error { opens++; return errors.New("no") })
	s.replica = replica.New(store, replica.Options{Patience: 1, Logger: s.log})
	if err := s.prepare(t.Context(), v.base, many); err != nil || opens == 0 || v.base.loaded.Load() != nil {
		t.Errorf("an index that cannot be read: %v after %d requests", err, opens)
	}
	store.SetBefore(nil)
	requireState(t, s, v, state)

	v.base.loading.Store(false)
	if err := s.prepare(t.Context(), v.base, many); err != nil || v.base.loaded.Load() == nil {
		t.Errorf("the index is not loaded: %v", err)
	}
	requireState(t, s, v, state)
}
