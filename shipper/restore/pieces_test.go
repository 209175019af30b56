package restore

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"runtime/metrics"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/walvfs/walvfs/format"
	"github.com/walvfs/walvfs/shipper/restore/internal/disk"
	"github.com/walvfs/walvfs/shipper/storage"
	"github.com/walvfs/walvfs/shipper/storage/storagetest"
)

// Files read in pieces of any size are the same files.
func TestPieces(t *testing.T) {
	s := smallReplica(t)
	for piece := int64(1); piece < 1200; piece += 1 + piece/9 {
		opts := Options{Parallelism: 1 + int(piece%5), hooks: disk.Hooks{Piece: piece}}
		var told []Progress
		opts.Progress = func(p Progress) { told = append(told, p) }
		r := restoreAs(t, s, opts, s.images[smallTip])
		if r.Files != smallFiles {
			t.Errorf("result is %+v", r)
		}
		checkProgress(t, told, 1)
	}
}

// After a connection drops, the download continues at that byte, whichever byte that is.
func TestDropAtEveryByte(t *testing.T) {
	const piece = 97
	for at := range int64(piece) {
		quickly(t, func(t *testing.T) {
			s := smallReplica(t)
			var mu sync.Mutex
			dropped := map[string]bool{}
			s.store.body = func(_ context.Context, key string, offset int64, r io.Reader) io.Reader {
				mu.Lock()
				defer mu.Unlock()
				key = fmt.Sprint(key, offset)
				if offset%piece != 0 || dropped[key] {
					return r
				}
				dropped[key] = true
				return &breakAfter{r, at, errReset}
			}
			restoreAs(t, s, Options{hooks: disk.Hooks{Piece: piece}}, s.images[smallTip])
			if len(dropped) < 30 {
				t.Errorf("only %d connections were dropped", len(dropped))
			}
		})
	}
}

// The speed of one connection does not limit the download of a snapshot.
func TestSnapshotComesInParallel(t *testing.T) {
	quickly(t, func(t *testing.T) {
		s := newSource(t)
		s.commit(200)
		const delay, piece = 10 * time.Second, 1 << 10
		s.store.open = func(context.Context, string, int64) error {
			time.Sleep(delay)
			return nil
		}
		start := time.Now()
		restoreAs(t, s, Options{hooks: disk.Hooks{Piece: piece}}, s.images[1])
		requests := len(s.store.opens)
		if took := time.Since(start); requests < 100 || took > time.Duration(requests/10)*delay {
			t.Errorf("%d requests of %s took %s", requests, delay, took)
		}
	})
}

// Requests stay within the configured limit.
func TestParallelism(t *testing.T) {
	s := newSource(t)
	s.commit(100)
	s.random(50)
	var mu sync.Mutex
	var now, most int
	s.store.open = func(context.Context, string, int64) error {
		mu.Lock()
		now++
		most = max(most, now)
		mu.Unlock()
		time.Sleep(time.Millisecond)
		mu.Lock()
		now--
		mu.Unlock()
		return nil
	}
	restoreAs(t, s, Options{Parallelism: 3, hooks: disk.Hooks{Piece: 1000}}, s.images[51])
	if most != 3 {
		t.Errorf("up to %d requests at a time", most)
	}
}

// Memory does not grow with the database, however slow the disk is.
func TestMemoryIsBounded(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector has memory of its own")
	}
	const piece, size = 256 << 10, 96 << 20 // so that 4 MiB are in flight, not 64
	store := storagetest.File(t).Open(t)
	shipRandom(t, store, size)
	runtime.GC()
	before, most := heap(), uint64(0)
	opts := Options{
		Progress: func(Progress) { most = max(most, heap()) },
		hooks:    disk.Hooks{Piece: piece, File: func(_ string, f disk.File) disk.File { return slowDisk{f} }},
	}
	if _, err := Restore(t.Context(), store, filepath.Join(t.TempDir(), "app.db"), opts); err != nil {
		t.Fatal(err)
	}
	bound := before + 2*inFlight/pieceSize*piece + uint64(runtime.GOMAXPROCS(0))<<20 + 8<<20
	t.Logf("%d MiB before, %d MiB at most, bound %d MiB", before>>20, most>>20, bound>>20)
	if most > bound {
		t.Errorf("up to %d bytes of memory, want %d at most", most, bound)
	}
}

func heap() uint64 {
	sample := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}, {Name: "/memory/classes/heap/unused:bytes"}}
	metrics.Read(sample)
	return sample[0].Value.Uint64() + sample[1].Value.Uint64()
}

// slowDisk lets the downloads run ahead.
type slowDisk struct{ disk.File }

func (d slowDisk) WriteAt(b []byte, offset int64) (int, error) {
	time.Sleep(200 * time.Microsecond)
	return d.File.WriteAt(b, offset)
}

// shipRandom ships an incompressible snapshot.
func shipRandom(t *testing.T, store storage.Store, size uint32) {
	const pageSize = 4096
	f, err := os.Create(filepath.Join(t.TempDir(), "snapshot"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	enc, err := format.NewEncoder(f, format.LTXHeader{PageSize: pageSize, Commit: size / pageSize, MinTXID: 1, MaxTXID: 1, Timestamp: 1})
	rnd := rand.NewChaCha8([32]byte{})
	page := make([]byte, pageSize)
	for n := uint32(1); n <= size/pageSize && err == nil; n++ {
		rnd.Read(page)
		err = enc.Page(n, page)
	}
	if err == nil {
		_, err = enc.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	body := io.NewSectionReader(f, 0, enc.N())
	if err := store.Create(t.Context(), store.Layout().Key(format.LevelSnapshot, 1, 1), body, storage.Attrs{Time: firstCommit}); err != nil {
		t.Fatal(err)
	}
}

// If the disk is full at any write, the error is about the disk, not about the object
// being applied.
func TestDiskFull(t *testing.T) {
	s := newSource(t)
	s.commit(3000)
	s.random(20)
	for _, at := range []int{0, 1, 5, 17} {
		n := 0
		var mu sync.Mutex
		full := func(_ string, f disk.File) disk.File {
			n = 0
			return writeHook{f, func() error {
				mu.Lock()
				defer mu.Unlock()
				if n++; n > at {
					return syscall.ENOSPC
				}
				return nil
			}}
		}
		err := mustFail(t, s, Options{hooks: disk.Hooks{File: full}})
		e, ok := errors.AsType[*Error](err)
		if !ok || e.Op != "write" || filepath.Base(e.Name) != "app.db"+tempSuffix || !strings.Contains(e.Hint, "make room") {
			t.Errorf("write %d: error is %v", at, err)
		}
	}
}

type writeHook struct {
	disk.File
	before func() error
}

func (d writeHook) WriteAt(b []byte, offset int64) (int, error) {
	if err := d.before(); err != nil {
		return 0, err
	}
	return d.File.WriteAt(b, offset)
}

// The lock page is a hole, even if it is the database's last page, whatever a crashed
// restore left there.
func TestLockPageIsLast(t *testing.T) {
	if testing.Short() {
		t.Skip("a database of 1 GiB")
	}
	const pageSize = 64 << 10
	lock := format.LockPage(pageSize)
	s := newSource(t)
	var b bytes.Buffer
	enc, err := format.NewEncoder(&b, format.LTXHeader{PageSize: pageSize, Commit: lock, MinTXID: 1, MaxTXID: 1, Timestamp: 1})
	for n := uint32(1); n < lock && err == nil; n++ {
		err = enc.Page(n, make([]byte, pageSize))
	}
	if err == nil {
		_, err = enc.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	s.store.objects[s.store.layout.Key(0, 1, 1)] = b.Bytes()
	var none noDisk
	r, err := Restore(t.Context(), s.store, filepath.Join(t.TempDir(), "app.db"), Options{hooks: disk.Hooks{File: func(_ string, f disk.File) disk.File {
		none.File = f
		return &none
	}}})
	if err != nil || r.Pages != lock {
		t.Fatalf("result is %+v, %v", r, err)
	}
	const size = 1 << 30
	if want := []int64{0, size + pageSize}; !slices.Equal(none.truncated, want) || none.written.Load() != size {
		t.Errorf("truncated to %d, want %d; %d bytes written", none.truncated, want, none.written.Load())
	}
}

// noDisk writes nothing.
type noDisk struct {
	disk.File
	truncated []int64
	written   atomic.Int64
}

func (d *noDisk) Truncate(size int64) error {
	d.truncated = append(d.truncated, size)
	return nil
}

func (d *noDisk) WriteAt(b []byte, offset int64) (int, error) {
	d.written.Add(int64(len(b)))
	return len(b), nil
}
