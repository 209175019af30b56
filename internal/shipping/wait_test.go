package shipping_test

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/walvfs/walvfs/internal/shipping"
	"github.com/walvfs/walvfs/shipper/storage/storagetest"
)

// A waiting is a call of Wait or Drain that has not returned.
type waiting struct {
	err  error
	done atomic.Bool
}

// begin starts a wait, and returns when all goroutines are blocked.
func begin(wait func() error) *waiting {
	w := new(waiting)
	go func() {
		w.err = wait()
		w.done.Store(true)
	}()
	synctest.Wait()
	return w
}

// require fails unless the call has returned without an error, or still waits.
func (w *waiting) require(t *testing.T, when string, done bool) {
	t.Helper()
	synctest.Wait()
	if got := w.done.Load(); got != done {
		t.Fatalf("%s: returned: %t", when, got)
	}
	if done && w.err != nil {
		t.Fatalf("%s: %v", when, w.err)
	}
}

// holdUploads makes uploads of level files wait until the test lets them through, one at
// a time.
func holdUploads(store *storagetest.Memory) (through chan<- struct{}) {
	c := make(chan struct{})
	store.SetBefore(func(ctx context.Context, op, key string) error {
		if op != "create" || !strings.HasSuffix(key, ".ltx") {
			return nil
		}
		select {
		case <-c:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	})
	return c
}

// A caller whose commit is in the upload under way needs no other upload, and a caller
// with a later commit gets the next upload. Neither waits for the interval.
func TestWaitForTheUploadUnderWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, db := newStore(t), newDB(3)
		n := created(store)
		s := shipping.New(db, store, shipping.Options{Interval: time.Hour})
		defer s.Close()
		drain(t, s)
		through := holdUploads(store)
		time.Sleep(2 * time.Hour)
		wait := func(c shipping.Commit) *waiting { return begin(func() error { return s.Wait(t.Context(), c) }) }

		_, first := db.commitAt(1)
		s.Wake()
		synctest.Wait() // the first upload is under way
		_, second := db.commitAt(2)
		s.Wake()
		a, b := wait(first), wait(second)
		a.require(t, "before the upload's end", false)
		uploads := n.Load()
		through <- struct{}{}
		a.require(t, "after the upload that holds it", true)
		b.require(t, "after the upload before its own", false)
		if n.Load() != uploads+1 {
			t.Errorf("%d uploads", n.Load()-uploads)
		}
		if s.Waiters() != 1 {
			t.Errorf("%d wait", s.Waiters())
		}
		through <- struct{}{}
		b.require(t, "after its own upload", true)
		wait(first).require(t, "once more", true)
		time.Sleep(48 * time.Hour)
		if n.Load() != uploads+2 {
			t.Errorf("%d uploads for two who waited", n.Load()-uploads)
		}
		requireSame(t, store, db)
	})
}

// A place identifies a transaction only within one epoch of the WAL.
func TestWaitAcrossResets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, db := newStore(t), newDB(3)
		s := shipping.New(db, store, shipping.Options{Interval: time.Hour})
		defer s.Close()
		drain(t, s)
		through := holdUploads(store)
		db.commit(1, 2, 3)
		begin(func() error { return s.Wait(t.Context(), shipping.Commit{}) })
		db.resetWAL()
		_, next := db.commitAt(1) // ends before the place of the upload under way
		b := begin(func() error { return s.Wait(t.Context(), next) })
		none := begin(func() error { return s.Wait(t.Context(), shipping.Commit{}) })
		through <- struct{}{}
		b.require(t, "another life's upload", false)
		none.require(t, "without a place, in the upload that was under way", false)
		through <- struct{}{}
		b.require(t, "its own upload", true)
		none.require(t, "the next upload", true)
	})
}

// A wait ends the interval early only for a commit that no upload holds.
func TestWaitLeavesTheInterval(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, db := newStore(t), newDB(3)
		n := created(store)
		s := shipping.New(db, store, shipping.Options{Interval: time.Hour})
		defer s.Close()
		drain(t, s)
		through := holdUploads(store)
		_, first := db.commitAt(1)
		underWay := begin(func() error { return s.Wait(t.Context(), first) })
		uploads := n.Load()
		db.commit(2) // no caller waits for it
		s.Wake()
		second := begin(func() error { return s.Wait(t.Context(), first) })
		through <- struct{}{}
		underWay.require(t, "the first", true)
		second.require(t, "who came during its upload", true)
		begin(func() error { return s.Wait(t.Context(), first) }).require(t, "who came after it", true)
		store.SetBefore(nil)
		time.Sleep(59 * time.Minute)
		if got := n.Load() - uploads; got != 1 {
			t.Errorf("%d uploads in the interval", got)
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		if got := n.Load() - uploads; got != 2 {
			t.Errorf("%d uploads after it", got)
		}
		requireSame(t, store, db)
	})
}

// Callers that gave up leave nothing behind.
func TestManyGiveUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, db := newStore(t), newDB(1)
		s := shipping.New(db, store, shipping.Options{})
		drain(t, s)
		outage(store, errStore)
		ctx, cancel := context.WithCancel(t.Context())
		var gaveUp atomic.Int64
		for i := range 10000 {
			_, place := db.commitAt(1)
			go func() {
				err := s.Wait(ctx, place)
				if i%2 == 0 {
					err = s.Drain(ctx)
				}
				if errors.Is(err, context.Canceled) {
					gaveUp.Add(1)
				}
			}()
		}
		synctest.Wait()
		if n := s.Waiters(); n != 10000 {
			t.Errorf("%d wait", n)
		}
		cancel()
		synctest.Wait()
		if n := s.Waiters(); n != 0 || gaveUp.Load() != 10000 {
			t.Errorf("%d wait, %d gave up", n, gaveUp.Load())
		}
		store.SetBefore(nil)
		drain(t, s)
		requireSame(t, store, db)
		s.Close()
	})
}
