package reader

import (
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/walvfs/walvfs/format"
	"github.com/walvfs/walvfs/shipper/storage"
)

// cachedSource is a process that reads a replica with a cache directory.
func cachedSource(t *testing.T, store storage.Store, dir string, size int64) *source {
	t.Helper()
	s := testSource(store)
	t.Cleanup(func() { s.pages.cancel(); s.pages.background.Wait() })
	var err error
	if s.pages.disk, err = openDisk(dir, size, slog.New(slog.DiscardHandler)); err != nil {
		t.Fatal(err)
	}
	return s
}

func readAll(t *testing.T, s *source, state []format.TXID) {
	t.Helper()
	v := newestView(t, s)
	requireState(t, s, v, state)
}

// After a restart, pages that were read before come from the directory.
func TestDiskKeepsWhatWasRead(t *testing.T) {
	store, state := largeReplica(t)
	dir := filepath.Join(t.TempDir(), "cache")
	readAll(t, cachedSource(t, store, dir, defaultSize), state)
	if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	opens, _ := counted(store)
	readAll(t, cachedSource(t, store, dir, defaultSize), state)
	if n := opens.Load(); n > 12 { // both ends of the files, and windows of an index
		t.Errorf("%d reads after a restart", n)
	}
}

// Damaged, short, empty and misplaced block files are ignored.
func TestDiskIgnoresDamage(t *testing.T) {
	store, state := largeReplica(t)
	dir := t.TempDir()
	readAll(t, cachedSource(t, store, dir, defaultSize), state)
	rng := rand.New(rand.NewPCG(1, 1))
	for range 4 {
		names, err := filepath.Glob(filepath.Join(dir, "*"+blockSuffix))
		if err != nil || len(names) < 3 {
			t.Fatal(names, err)
		}
		for i, name := range names {
			b, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			switch (i + rng.IntN(5)) % 5 {
			case 0:
				b[rng.IntN(len(b))] ^= 1 << rng.IntN(8)
			case 1:
				b = b[:rng.IntN(len(b))]
			case 2:
				b = append(b, 0)
			case 3:
				if b, err = os.ReadFile(names[(i+1)%len(names)]); err != nil {
					t.Fatal(err)
				}
			}
			if err := os.WriteFile(name, b, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		readAll(t, cachedSource(t, store, dir, defaultSize), state)
	}
}

// The directory is bounded, leftovers of a killed process are removed, and other files
// stay.
func TestDiskIsBounded(t *testing.T) {
	dir := t.TempDir()
	other := filepath.Join(dir, "notes.txt")
	left, fresh := filepath.Join(dir, blockPrefix+"1"+blockTemp), filepath.Join(dir, blockPrefix+"2"+blockTemp)
	for _, name := range []string{other, left, fresh} {
		if err := os.WriteFile(name, make([]byte, 1000), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	old := time.Now().Add(-2 * keepTemp)
	for _, name := range []string{other, left} {
		if err := os.Chtimes(name, old, old); err != nil {
			t.Fatal(err)
		}
	}
	d, err := openDisk(dir, 4<<20, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	f := &file{checksum: 7}
	f.info.Size = 1 << 40
	for block := range int64(300) {
		d.write(f, block, make([]byte, blockSize))
		d.recent = nil
		d.read(f, 3) // used repeatedly
		total := int64(0)
		entries, err := os.ReadDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			if info, err := e.Info(); err == nil && strings.HasSuffix(e.Name(), blockSuffix) {
				total += info.Size()
			}
		}
		if total > d.max {
			t.Fatalf("%d bytes after %d blocks", total, block+1)
		}
	}
	d.recent = nil
	if d.read(f, 299) == nil || d.read(f, 3) == nil || d.read(f, 5) != nil {
		t.Error("not the blocks that were used last are kept")
	}
	if _, err := os.Stat(left); err == nil {
		t.Error("a file that a killed process left is still there")
	}
	for _, name := range []string{other, fresh} {
		if _, err := os.Stat(name); err != nil {
			t.Error(err)
		}
	}
}

// If the directory cannot be written, everything is read from the replica.
func TestDiskCannotBeWritten(t *testing.T) {
	store, state := largeReplica(t)
	dir := filepath.Join(t.TempDir(), "cache")
	s := cachedSource(t, store, dir, defaultSize)
	if err := os.Remove(dir); err != nil {
		t.Fatal(err)
	}
	readAll(t, s, state)
	if s.pages.disk.until.IsZero() {
		t.Error("no write has failed")
	}
}

// Processes share a directory so small that they remove each other's blocks.
func TestDiskIsShared(t *testing.T) {
	store, state := largeReplica(t)
	dir := t.TempDir()
	var wg sync.WaitGroup
	for range 4 {
		s := cachedSource(t, store, dir, 10*blockSize)
		wg.Go(func() {
			v, err := s.newest(t.Context(), 0)
			if err != nil {
				t.Error(err)
				return
			}
			page := make([]byte, testPageSize)
			for i := range state {
				if err := s.pages.read(t.Context(), v, uint32(i+1), page); err != nil {
					t.Error(err)
					return
				}
				if string(page) != string(content(uint32(i+1), state[i])) {
					t.Errorf("page %d is another one", i+1)
					return
				}
			}
		})
	}
	wg.Wait()
}
