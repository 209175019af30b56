package reader

import (
	"context"
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/walvfs/walvfs/format"
)

// testIndex returns the windows of an index with random sizes, and its entries by page.
func testIndex(rng *rand.Rand, pages, lock uint32, size func(pgno uint32) int) (w *windows, entries []format.PageEntry, reads *int, index []byte) {
	entries = make([]format.PageEntry, pages+1)
	offset := int64(format.LTXHeaderSize)
	for pgno := uint32(1); pgno <= pages; pgno++ {
		if pgno == lock {
			continue
		}
		e := format.PageEntry{Number: pgno, Offset: offset, Size: int64(size(pgno))}
		entries[pgno] = e
		for _, v := range []uint64{uint64(e.Number), uint64(e.Offset), uint64(e.Size)} {
			index = binary.AppendUvarint(index, v)
		}
		offset = e.End()
	}
	index = append(index, 0)
	reads = new(int)
	w = &windows{size: int64(len(index)), pages: pages, lock: lock, end: offset}
	w.read = func(_ context.Context, at, length int64) ([]byte, error) {
		*reads++
		return index[at : at+length], nil
	}
	return w, entries, reads, index
}

// Every page is found, whatever the sizes are, with about one read of a window.
func TestWindows(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	sizes := map[string]func(uint32) int{
		"even":   func(uint32) int { return 1000 + rng.IntN(3000) },
		"small":  func(uint32) int { return 50 + rng.IntN(100) },
		"large":  func(uint32) int { return 10000 + rng.IntN(50000) },
		"blocks": func(p uint32) int { return []int{60, 3000, 20000}[p/20000%3] + rng.IntN(60) },
	}
	for name, size := range sizes {
		for _, pages := range []uint32{1, 100, 16400, 300000} {
			w, entries, reads, _ := testIndex(rng, pages, 16385, size)
			finds := 0
			for range 60 {
				pgno := 1 + rng.Uint32N(pages)
				if _, ok := w.known(pgno); !ok {
					finds++
				}
				e, ok, err := w.find(t.Context(), pgno)
				if err != nil || e != entries[pgno] || ok != (pgno != 16385) {
					t.Fatalf("%s, %d pages: page %d: %v, %v, %v, want %v", name, pages, pgno, e, ok, err, entries[pgno])
				}
			}
			if most := finds * 3 / 2; *reads > max(2, most) {
				t.Errorf("%s, %d pages: %d reads for %d pages", name, pages, *reads, finds)
			}
		}
	}
}

// Many runs take bounded memory, and pages are found again. Without any other run, one
// window finds nearly every page.
func TestWindowsAreBounded(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 3))
	w, entries, reads, _ := testIndex(rng, 2_500_000, 262145, func(uint32) int { return 500 + rng.IntN(3000) })
	w.head(entries[1:10])
	for range 2 {
		for pgno := uint32(1); pgno < 2_500_000; pgno += 4000 {
			if e, _, err := w.find(t.Context(), pgno); err != nil || e != entries[pgno] {
				t.Fatalf("page %d: %v, %v", pgno, e, err)
			}
		}
	}
	if len(w.runs) > mostRuns+1 {
		t.Errorf("%d runs", len(w.runs))
	}
	const finds = 100
	*reads = 0
	for range finds {
		w.runs = w.runs[:1]
		pgno := 1000 + rng.Uint32N(2_400_000)
		if e, ok, err := w.find(t.Context(), pgno); err != nil || e != entries[pgno] || ok != (pgno != 262145) {
			t.Fatalf("page %d: %v, %v", pgno, e, err)
		}
	}
	if *reads > finds+finds/20 {
		t.Errorf("%d windows for %d pages", *reads, finds)
	}
}

// A damaged index is an error, and never yields a wrong place.
func TestWindowsOfADamagedIndex(t *testing.T) {
	for seed := range uint64(40) {
		rng := rand.New(rand.NewPCG(seed, 4))
		w, entries, _, index := testIndex(rng, 40000, 16385, func(uint32) int { return 1000 + rng.IntN(3000) })
		damage := 1 + rng.IntN(3000)
		at := rng.IntN(len(index) - damage)
		for i := range damage {
			index[at+i] = byte(rng.Uint32())
		}
		for range 20 {
			pgno := 1 + rng.Uint32N(40000)
			e, ok, err := w.find(t.Context(), pgno)
			if err != nil && !errors.Is(err, format.ErrCorrupt) {
				t.Fatal(err)
			}
			if err == nil && ok && e != entries[pgno] {
				t.Fatalf("seed %d: page %d: %v, not %v", seed, pgno, e, entries[pgno])
			}
		}
	}
}

// Connections that look for pages of one window at the same time read it once.
func TestWindowsAreReadOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rng := rand.New(rand.NewPCG(1, 5))
		w, entries, _, index := testIndex(rng, 40000, 1<<30, func(uint32) int { return 1000 + rng.IntN(3000) })
		var reads atomic.Int64
		w.read = func(_ context.Context, at, length int64) ([]byte, error) {
			reads.Add(1)
			time.Sleep(time.Second)
			return index[at : at+length], nil
		}
		var wg sync.WaitGroup
		for pgno := uint32(20000); pgno < 20050; pgno++ {
			wg.Go(func() {
				if e, ok, err := w.find(t.Context(), pgno); err != nil || !ok || e != entries[pgno] {
					t.Errorf("page %d: %v, %v, %v", pgno, e, ok, err)
				}
			})
		}
		wg.Wait()
		if n := reads.Load(); n > 2 { // the pages may be on both sides of a border
			t.Errorf("%d reads", n)
		}
	})
}

// A connection that waits for another connection's read of a window reads the window
// itself if that connection gives up.
func TestWindowsAreReadAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rng := rand.New(rand.NewPCG(1, 6))
		w, entries, _, index := testIndex(rng, 40000, 1<<30, func(uint32) int { return 1000 + rng.IntN(3000) })
		var reads atomic.Int64
		w.read = func(ctx context.Context, at, length int64) ([]byte, error) {
			if reads.Add(1) == 1 {
				<-ctx.Done()
				return nil, ctx.Err()
			}
			return index[at : at+length], nil
		}
		stalled, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		go w.find(stalled, 20000)
		synctest.Wait()
		if e, ok, err := w.find(t.Context(), 20000); err != nil || !ok || e != entries[20000] {
			t.Errorf("%v, %v, %v", e, ok, err)
		}
	})
}
