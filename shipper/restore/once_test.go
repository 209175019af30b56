package restore

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"pgregory.net/rapid"

	"github.com/walvfs/walvfs/format"
	"github.com/walvfs/walvfs/shipper/replica"
	"github.com/walvfs/walvfs/shipper/restore/internal/disk"
)

// applyInOrder defines the meaning of a plan: it applies each file in order, starting
// with the oldest, with all of its pages, and then sets its size.
func applyInOrder(t *testing.T, s *source, files []format.FileInfo) []byte {
	t.Helper()
	var db []byte
	for _, f := range files {
		object := s.store.objects[s.store.layout.Key(f.Level, f.MinTXID, f.MaxTXID)]
		h, _, err := format.Decode(bytes.NewReader(object), func(h format.LTXHeader, pgno uint32, page []byte) error {
			end := int(pgno * h.PageSize)
			db = append(db, make([]byte, max(0, end-len(db)))...)
			copy(db[end-len(page):end], page)
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		size := int(h.Commit * h.PageSize)
		db = append(db, make([]byte, max(0, size-len(db)))...)[:size]
	}
	return db
}

// countingDisk counts how often each page is written.
type countingDisk struct {
	disk.File
	mu     *sync.Mutex
	writes map[int64]int // by page
}

func (d countingDisk) WriteAt(b []byte, offset int64) (int, error) {
	d.mu.Lock()
	for p := offset / testPageSize; p < (offset+int64(len(b)))/testPageSize; p++ {
		d.writes[p]++
	}
	d.mu.Unlock()
	return d.File.WriteAt(b, offset)
}

// Restore writes each page once, from the newest file that has it, whatever shrank and
// grew again in between, and the result equals that of the plan applied in order.
func TestPageOnce(t *testing.T) {
	dir := t.TempDir()
	rapid.Check(t, func(rt *rapid.T) {
		s := randomReplica(t, rt)
		listed, err := replica.All(t.Context(), s.store)
		if err != nil {
			rt.Fatal(err)
		}
		txid := rapid.SampledFrom(listed.Restorable()).Draw(rt, "txid")
		files, err := format.Plan(listed.Infos(), txid)
		if err != nil {
			rt.Fatal(err)
		}
		want := applyInOrder(t, s, files)
		if !bytes.Equal(want, s.images[txid]) {
			rt.Fatalf("the replica is wrong at %s", txid)
		}
		counting := countingDisk{mu: &sync.Mutex{}, writes: map[int64]int{}}
		opts := Options{TXID: txid, Force: true, hooks: disk.Hooks{
			File:  func(_ string, f disk.File) disk.File { counting.File = f; return counting },
			Piece: rapid.Int64Range(1, 3000).Draw(rt, "piece"),
		}}
		target := filepath.Join(dir, "app.db")
		if _, err := Restore(t.Context(), s.store, target, opts); err != nil {
			rt.Fatal(err)
		}
		got, err := os.ReadFile(target)
		if err != nil {
			rt.Fatal(err)
		}
		if !bytes.Equal(got, want) {
			rt.Fatalf("TXID %s from %s differs", txid, files)
		}
		if n := len(want) / testPageSize; len(counting.writes) != n {
			rt.Errorf("%d pages were written, the database has %d", len(counting.writes), n)
		}
		for p, n := range counting.writes {
			if n != 1 {
				rt.Errorf("page %d was written %d times", p+1, n)
			}
		}
	})
}

// randomReplica returns a replica with commits of all kinds, with compacted files here
// and there.
func randomReplica(t *testing.T, rt *rapid.T) *source {
	s := newSource(t)
	for range rapid.IntRange(1, 12).Draw(rt, "commits") {
		pages := rapid.Uint32Range(1, 12).Draw(rt, "pages")
		s.commit(pages, rapid.SliceOfN(rapid.Uint32Range(1, pages), 0, 3).Draw(rt, "changed")...)
	}
	for range rapid.IntRange(0, 3).Draw(rt, "compactions") {
		lo := rapid.Uint64Range(1, uint64(s.txid)).Draw(rt, "lo")
		hi := rapid.Uint64Range(lo, uint64(s.txid)).Draw(rt, "hi")
		level := rapid.IntRange(1, 3).Draw(rt, "level")
		if rapid.IntRange(0, 3).Draw(rt, "snapshot") == 0 {
			level, lo = format.LevelSnapshot, 1
		}
		s.ship(level, format.TXID(lo), format.TXID(hi))
	}
	return s
}

// If the database lost a page and has it again, the page is from the file with which the
// database grew: not the old page, and not zeros.
func TestShrinkAndGrow(t *testing.T) {
	for n := range uint32(6) {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			s := newSource(t)
			s.commit(8)
			s.commit(8, 5, 7)
			s.commit(max(1, n))
			s.commit(8, 2)
			s.commit(8, 1)
			restoreAs(t, s, Options{}, s.images[5])
			s.ship(1, 2, 4) // it shrinks and grows within one file
			s.drop(0, 3, 3)
			restoreAs(t, s, Options{}, s.images[5])
		})
	}
}
