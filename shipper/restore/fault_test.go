package restore

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/walvfs/walvfs/format"
	"github.com/walvfs/walvfs/shipper/replica"
	"github.com/walvfs/walvfs/shipper/restore/internal/disk"
	"github.com/walvfs/walvfs/shipper/storage"
	"pgregory.net/rapid"
)

// planKeys returns the plan of a smallReplica, as keys.
func planKeys(s *source) []string {
	l := s.store.layout
	return []string{l.Key(format.LevelSnapshot, 1, 2), l.Key(0, 3, 3), l.Key(0, 4, 4), l.Key(0, 5, 5)}
}

// Whatever happens to an object, the error names it, and no files remain. If another
// level leads to the same TXID, the restore uses it.
func TestDamagedObject(t *testing.T) {
	for i, key := range planKeys(smallReplica(t)) {
		other := planKeys(smallReplica(t))[(i+1)%smallFiles]
		for _, c := range []struct {
			name   string
			damage func(s *source)
			want   error
		}{
			{"missing", func(s *source) { hideAfterList(s, key) }, storage.ErrNotExist},
			{"empty", func(s *source) { s.store.objects[key] = nil }, format.ErrCorrupt},
			{"header only", func(s *source) { s.store.objects[key] = s.store.objects[key][:format.LTXHeaderSize] }, format.ErrCorrupt},
			{"no trailer", func(s *source) { cut(s, key, format.LTXTrailerSize) }, format.ErrCorrupt},
			{"last byte lost", func(s *source) { cut(s, key, 1) }, format.ErrCorrupt},
			{"last byte lost since it was listed", func(s *source) { listAs(s, key, +1, 1) }, format.ErrCorrupt},
			{"bytes behind it", func(s *source) { s.store.objects[key] = append(s.store.objects[key], 0) }, format.ErrCorrupt},
			{"bytes behind it since it was listed", func(s *source) { listAs(s, key, 0, -1) }, format.ErrCorrupt},
			{"shorter than its listing", func(s *source) { listAs(s, key, +1, 0) }, format.ErrCorrupt},
			{"longer than its listing", func(s *source) { listAs(s, key, -1, 0) }, format.ErrCorrupt},
			{"another file's bytes", func(s *source) { s.store.objects[key] = s.store.objects[other] }, format.ErrCorrupt},
			{"zeros", func(s *source) { clear(s.store.objects[key]) }, format.ErrCorrupt},
		} {
			t.Run(fmt.Sprintf("%s/%s", key, c.name), func(t *testing.T) {
				quickly(t, func(t *testing.T) {
					s := smallReplica(t)
					c.damage(s)
					if i == 0 { // level 0 has all TXIDs
						restoreAround(t, s, key)
						return
					}
					err := mustFail(t, s, Options{})
					if !errors.Is(err, c.want) || !strings.Contains(err.Error(), "mem://replica/"+key) {
						t.Errorf("error is %v", err)
					}
				})
			})
		}
	}
}

// restoreAround restores, and checks that the log reports the damaged file and that the
// restore uses another file.
func restoreAround(t *testing.T, s *source, key string) {
	t.Helper()
	var log bytes.Buffer
	r := restoreAs(t, s, Options{Logger: textLogger(&log)}, s.images[smallTip])
	if r.TXID != smallTip || r.Files != smallTip || !strings.Contains(log.String(), "level=WARN") || !strings.Contains(log.String(), "key="+key) {
		t.Errorf("%+v; the log is %q", r, log.String())
	}
}

func cut(s *source, key string, n int) {
	b := s.store.objects[key]
	s.store.objects[key] = b[:len(b)-n]
}

// listAs lists an object as longer than it is, after it lost or gained bytes.
func listAs(s *source, key string, longer int64, lost int) {
	s.store.listed = func(_ int, o *storage.Object) error {
		if o.Key == key {
			o.Size += longer
		}
		return nil
	}
	s.store.body = func(_ context.Context, k string, _ int64, r io.Reader) io.Reader {
		switch {
		case k == key && lost < 0:
			return io.MultiReader(r, strings.NewReader(strings.Repeat("x", -lost)))
		case k == key && lost > 0:
			all, _ := io.ReadAll(r)
			return strings.NewReader(string(all[:max(0, len(all)-lost)]))
		}
		return r
	}
}

func hideAfterList(s *source, key string) {
	s.store.open = func(_ context.Context, k string, _ int64) error {
		if k == key {
			return storage.ErrNotExist
		}
		return nil
	}
}

// No bit of a replica can change unnoticed: its pages are random, so that no flip is
// hidden by compression.
func TestFlip(t *testing.T) {
	for _, key := range planKeys(smallReplica(t)) {
		t.Run(key, func(t *testing.T) {
			s := smallReplica(t)
			b := s.store.objects[key]
			step := 1
			if testing.Short() {
				step = 13
			}
			if key == planKeys(s)[0] {
				step = 61 // each takes a whole restore
			}
			for i := 0; i < len(b); i += step {
				b[i] ^= 1 << (i % 8)
				if key == planKeys(s)[0] {
					restoreAround(t, s, key)
					b[i] ^= 1 << (i % 8)
					continue
				}
				_, err := Restore(t.Context(), s.store, t.TempDir()+"/app.db", Options{})
				b[i] ^= 1 << (i % 8)
				if !errors.Is(err, format.ErrCorrupt) || !strings.Contains(err.Error(), key) {
					t.Fatalf("byte %d of %d: error is %v", i, len(b), err)
				}
			}
			if key == planKeys(s)[0] {
				return
			}
			b[len(b)/2] ^= 1
			err := mustFail(t, s, Options{})
			if hint := "can be restored"; !strings.Contains(err.Error(), hint) {
				t.Errorf("error is %v, want %q in it", err, hint)
			}
		})
	}
}

// Whatever files are damaged, a restore succeeds if any chain of intact files leads to
// the TXID, and otherwise restores nothing.
func TestDamagedAround(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		s := randomReplica(t, rt)
		var whole []format.FileInfo
		listed, err := replica.All(t.Context(), s.store)
		if err != nil {
			rt.Fatal(err)
		}
		for _, f := range listed.Infos() {
			if rapid.IntRange(0, 3).Draw(rt, "damage "+f.String()) > 0 {
				whole = append(whole, f)
				continue
			}
			key := s.store.layout.Key(f.Level, f.MinTXID, f.MaxTXID)
			b := bytes.Clone(s.store.objects[key])
			b[len(b)-1] ^= 1
			s.store.objects[key] = b
		}
		txid := rapid.SampledFrom(listed.Restorable()).Draw(rt, "txid")
		_, planErr := format.Plan(whole, txid)
		target := filepath.Join(t.TempDir(), "app.db")
		r, err := Restore(t.Context(), s.store, target, Options{TXID: txid})
		if planErr != nil {
			if !errors.Is(err, format.ErrCorrupt) {
				rt.Fatalf("there is no way to TXID %s, and the error is %v", txid, err)
			}
			return
		}
		if err != nil || r.TXID != txid {
			rt.Fatalf("TXID %s: %+v, %v", txid, r, err)
		}
		checkFile(t, target, s.images[txid])
	})
}

// A file with which a database grows must hold the new pages.
func TestMissingGrowth(t *testing.T) {
	s := newSource(t)
	s.commit(2)
	s.commit(6, 1)
	s.store.objects[s.store.layout.Key(0, 2, 2)] = s.encode(2, 2, []uint32{1, 3, 4, 6})
	err := mustFail(t, s, Options{})
	if !errors.Is(err, format.ErrCorrupt) || !strings.Contains(err.Error(), "grows from 2 to 6 pages, but not all of these are in it") {
		t.Errorf("error is %v", err)
	}
}

// A listing that fails midway is not a replica that ends there.
func TestListFails(t *testing.T) {
	objects := len(smallReplica(t).store.objects)
	for n := range objects {
		s := smallReplica(t)
		s.store.listed = func(i int, _ *storage.Object) error {
			if i == n {
				return errReset
			}
			return nil
		}
		if err := mustFail(t, s, Options{}); !errors.Is(err, errReset) || errors.Is(err, ErrNoReplica) {
			t.Errorf("error is %v", err)
		}
	}
}

// The proof that no replica exists needs its listings, too.
func TestNoReplicaUnproven(t *testing.T) {
	s := newSource(t)
	s.store.objects["generations/x"] = nil
	s.store.listed = func(int, *storage.Object) error { return errReset }
	if err := mustFail(t, s, Options{}); !errors.Is(err, errReset) || errors.Is(err, ErrNoReplica) {
		t.Errorf("error is %v", err)
	}
}

var errReset = errors.New("connection reset")

// faultyDisk fails at one operation.
type faultyDisk struct {
	disk.File
	failAt int32
	n      *atomic.Int32
}

var errDisk = errors.New("no space left on device")

func (d faultyDisk) next() error {
	if d.n.Add(1)-1 == d.failAt {
		return errDisk
	}
	return nil
}

func (d faultyDisk) WriteAt(p []byte, offset int64) (int, error) {
	if err := d.next(); err != nil {
		return 0, err
	}
	return d.File.WriteAt(p, offset)
}

func (d faultyDisk) Truncate(size int64) error {
	if err := d.next(); err != nil {
		return err
	}
	return d.File.Truncate(size)
}

func (d faultyDisk) Sync() error {
	if err := d.next(); err != nil {
		return err
	}
	return d.File.Sync()
}

// Every operation on the disk fails once.
func TestDiskFails(t *testing.T) {
	s := smallReplica(t)
	failing := func(failAt int32, n *atomic.Int32) Options {
		return Options{hooks: disk.Hooks{File: func(name string, f disk.File) disk.File {
			if !strings.HasSuffix(name, tempSuffix) {
				return f // the directory, which is synced too late to fail
			}
			n.Store(0)
			return faultyDisk{f, failAt, n}
		}}}
	}
	var n atomic.Int32
	restoreAs(t, s, failing(-1, &n), s.images[smallTip])
	operations := n.Load()
	if operations < smallFiles+3 { // each file has pages; and truncate, truncate, sync
		t.Fatalf("a restore has only %d operations", operations)
	}
	for failAt := range operations {
		if err := mustFail(t, s, failing(failAt, &n)); !errors.Is(err, errDisk) || errors.Is(err, format.ErrCorrupt) {
			t.Errorf("operation %d: error is %v", failAt, err)
		}
	}
}

// A cancelled restore, at any byte, leaves no files.
func TestCancel(t *testing.T) {
	s := smallReplica(t)
	for _, key := range planKeys(s) {
		for _, at := range []int64{0, 50, 700} {
			ctx, cancel := context.WithCancelCause(t.Context())
			stop := errors.New("stopped")
			s.store.body = func(_ context.Context, k string, _ int64, r io.Reader) io.Reader {
				if k != key {
					return r
				}
				return io.MultiReader(io.LimitReader(r, at), readerFunc(func([]byte) (int, error) {
					cancel(stop)
					return 0, errReset
				}))
			}
			dir := t.TempDir()
			_, err := Restore(ctx, s.store, dir+"/app.db", Options{})
			if !errors.Is(err, stop) {
				t.Errorf("error is %v", err)
			}
			checkNames(t, dir)
		}
	}
}

// This restore is cancelled after the last byte, but before the database has its name.
func TestCancelLate(t *testing.T) {
	s := smallReplica(t)
	ctx, cancel := context.WithCancel(t.Context())
	dir := t.TempDir()
	_, err := Restore(ctx, s.store, dir+"/app.db", Options{Progress: func(p Progress) {
		if p.Files == p.TotalFiles {
			cancel()
		}
	}})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("error is %v", err)
	}
	checkNames(t, dir)
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }
