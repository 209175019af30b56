package shipping_test

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/RoaringBitmap/roaring/v2"

	"github.com/walvfs/walvfs/format"
	"github.com/walvfs/walvfs/internal/shipping"
	"github.com/walvfs/walvfs/shipper"
	"github.com/walvfs/walvfs/shipper/storage"
	"github.com/walvfs/walvfs/shipper/storage/storagetest"
)

// fakeCopies are copies of pages that take some time.
type fakeCopies struct {
	takes  time.Duration
	err    error
	mu     sync.Mutex
	pages  [][]uint32 // pages that each copy must hold in the end, nil for every page
	begun  atomic.Int64
	closed atomic.Int64
}

func (c *fakeCopies) precopy(pages func() *roaring.Bitmap) (shipping.Precopied, error) {
	c.begun.Add(1)
	return &fakeCopy{c: c, pages: pages}, nil
}

type fakeCopy struct {
	c     *fakeCopies
	pages func() *roaring.Bitmap
}

func (k *fakeCopy) Copy(ctx context.Context) error {
	select {
	case <-time.After(k.c.takes):
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	k.c.mu.Lock()
	defer k.c.mu.Unlock()
	var pages []uint32
	if all := k.pages(); all != nil {
		pages = all.ToArray()
	}
	k.c.pages = append(k.c.pages, pages)
	return k.c.err
}

func (k *fakeCopy) Close() error {
	k.c.closed.Add(1)
	return nil
}

func levelFiles(store storage.Store) map[int]int {
	levels := map[int]int{}
	for obj := range store.List(context.Background(), "", "") {
		if f, ok := store.Layout().Parse(obj.Key); ok {
			levels[f.Level]++
		}
	}
	return levels
}

// copying returns a database whose level of 30 s is due: its pages are being copied,
// which takes 5 s.
func copying(t *testing.T) (*storagetest.Memory, *fakeDB, *fakeCopies, *shipping.Shipper) {
	t.Helper()
	store, db, copies := newStore(t), newDB(10), &fakeCopies{takes: 5 * time.Second}
	db.precopy = copies.precopy
	s := shipping.New(db, store, shipping.Options{Policy: shipping.Policy{Levels: []time.Duration{30 * time.Second}}})
	t.Cleanup(func() { s.Close() })
	drain(t, s)
	db.commit(2)
	drain(t, s)
	time.Sleep(31 * time.Second)
	return store, db, copies, s
}

// The pages of a level are copied before the cut of its file. Commits ship meanwhile, and
// the level's file also holds their pages.
func TestLevelsAreCopiedFirst(t *testing.T) {
	for _, failure := range []error{nil, errors.New("the disk is full")} {
		synctest.Test(t, func(t *testing.T) {
			store, db := newStore(t), newDB(10)
			copies := &fakeCopies{takes: 5 * time.Second, err: failure}
			s := shipping.New(db, store, shipping.Options{Policy: shipping.Policy{Levels: []time.Duration{30 * time.Second}}})
			defer s.Close()
			drain(t, s)
			time.Sleep(time.Minute)
			synctest.Wait()
			before := levelFiles(store)[1]
			db.precopy = copies.precopy

			db.commit(2)
			drain(t, s)
			time.Sleep(31 * time.Second) // the level is due
			for _, page := range []uint32{3, 4} {
				db.commit(page)
				start := time.Now()
				drain(t, s)
				if took := time.Since(start); took > time.Second {
					t.Errorf("a commit waits %s for a copy", took)
				}
				time.Sleep(time.Second)
			}
			if levelFiles(store)[1] != before {
				t.Error("the level is there before its pages are copied")
			}
			time.Sleep(10 * time.Second)
			synctest.Wait()
			if levelFiles(store)[1] != before+1 {
				t.Errorf("%v", levelFiles(store))
			}
			if want := [][]uint32{{2, 3, 4}}; !slices.EqualFunc(copies.pages, want, slices.Equal) {
				t.Errorf("copied were %v, not %v", copies.pages, want)
			}
			if copies.begun.Load() != 1 || copies.closed.Load() != 1 {
				t.Errorf("%d copies, %d of them closed", copies.begun.Load(), copies.closed.Load())
			}
			requireSame(t, store, db)
		})
	}
}

// A copy is closed even if its cut never comes, and it does not delay a close.
func TestCopiesAreClosed(t *testing.T) {
	for name, takes := range map[string]time.Duration{"during the copy": time.Hour, "after it": time.Millisecond} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				store, db := newStore(t), newDB(10)
				copies := &fakeCopies{takes: takes}
				db.precopy = copies.precopy
				var fail atomic.Bool
				store.SetBefore(func(_ context.Context, op, _ string) error {
					if op == "create" && fail.Load() {
						return errStore
					}
					return nil
				})
				s := shipping.New(db, store, shipping.Options{Policy: shipping.Policy{Snapshots: 30 * time.Second}})
				db.commit(1)
				drain(t, s)
				time.Sleep(29 * time.Second)
				fail.Store(true) // no further cut is made
				db.commit(1)
				s.Wake()
				time.Sleep(time.Minute)
				start := time.Now()
				s.Close()
				if took := time.Since(start); took > time.Second {
					t.Errorf("a close waits %s for a copy", took)
				}
				if !shipping.EncodersFree() {
					t.Error("an encoder is taken for ever")
				}
				if copies.begun.Load() != copies.closed.Load() {
					t.Errorf("%d copies, %d of them closed", copies.begun.Load(), copies.closed.Load())
				}
			})
		})
	}
}

// A level that starts over while its pages are copied needs no file.
func TestCopyForALevelThatBeginsAnew(t *testing.T) {
	defer shipping.SetLarge(10 * pageSize)()
	synctest.Test(t, func(t *testing.T) {
		store, db, copies, s := copying(t)
		db.commit(1, 2, 3, 4, 5, 6, 7, 8, 9, 10)
		drain(t, s)
		time.Sleep(time.Minute)
		synctest.Wait()
		if n := levelFiles(store)[1]; n > 0 || copies.begun.Load() != 1 || copies.closed.Load() != 1 || !shipping.EncodersFree() {
			t.Errorf("%d files; %d copies, %d of them closed", n, copies.begun.Load(), copies.closed.Load())
		}
	})
}

// A snapshot is made after every page was copied.
func TestSnapshotIsCopiedFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, db := newStore(t), newDB(10)
		copies := &fakeCopies{takes: time.Second}
		db.precopy = copies.precopy
		s := shipping.New(db, store, shipping.Options{Policy: shipping.Policy{Snapshots: 30 * time.Second}})
		defer s.Close()
		for range 40 {
			db.commit(1)
			drain(t, s)
			time.Sleep(time.Second)
		}
		synctest.Wait()
		if n := levelFiles(store)[format.LevelSnapshot]; n == 0 || copies.pages[0] != nil {
			t.Errorf("%d snapshots; copied were %v", n, copies.pages)
		}
	})
}

// A copy that waits for a cut while the store does not answer does not delay the levels
// of other databases.
func TestOutageKeepsNoEncoder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, db, copies, s := copying(t)
		store.SetBefore(failing)
		db.commit(3)
		s.Wake()
		time.Sleep(time.Hour)
		synctest.Wait()
		if !shipping.EncodersFree() || copies.begun.Load() != copies.closed.Load() {
			t.Errorf("an hour into an outage, an encoder of all databases is taken: %v; %d copies, %d of them closed", !shipping.EncodersFree(), copies.begun.Load(), copies.closed.Load())
		}
		store.SetBefore(nil)
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		if levelFiles(store)[1] == 0 {
			t.Error("no file of level 1 after the outage")
		}
	})
}

// An unfinished copy does not keep its encoder when replication halts.
func TestHaltKeepsNoEncoder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, db := newStore(t), newDB(10)
		copies := &fakeCopies{takes: 5 * time.Second}
		db.precopy = copies.precopy
		var diverged atomic.Bool
		db.cutErr = func() error {
			if diverged.Load() {
				return shipper.ErrDiverged
			}
			return nil
		}
		s := shipping.New(db, store, shipping.Options{Policy: shipping.Policy{Levels: []time.Duration{30 * time.Second}}})
		defer s.Close()
		drain(t, s)
		db.commit(2)
		drain(t, s)
		time.Sleep(31 * time.Second) // the level is due, and its pages are being copied
		diverged.Store(true)
		db.commit(3)
		s.Wake()
		time.Sleep(time.Hour)
		synctest.Wait()
		if st := s.Status().State; st != shipper.Halted || !shipping.EncodersFree() {
			t.Errorf("%s; an encoder of all databases is taken: %v", st, !shipping.EncodersFree())
		}
	})
}

func failing(context.Context, string, string) error { return errStore }

// A complete copy for a level is used at once: it does not keep an encoder for an
// interval.
func TestCopyDoesNotWaitForTheInterval(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, db := newStore(t), newDB(10)
		copies := &fakeCopies{takes: 5 * time.Second}
		db.precopy = copies.precopy
		s := shipping.New(db, store, shipping.Options{Interval: time.Hour, Policy: shipping.Policy{Levels: []time.Duration{30 * time.Second}}})
		defer s.Close()
		drain(t, s)
		db.commit(2)
		drain(t, s)
		taken := 0
		for range 6 * 60 {
			db.commit(3)
			s.Wake()
			time.Sleep(30 * time.Second)
			synctest.Wait()
			if !shipping.EncodersFree() {
				taken++
			}
		}
		if taken > 6 {
			t.Errorf("an encoder is taken for %s of 3 hours", time.Duration(taken)*30*time.Second)
			t.Errorf("an encoder is taken; %d copies, %d closed: %+v", copies.begun.Load(), copies.closed.Load(), s.Status().Jobs[:2])
		}
	})
}
