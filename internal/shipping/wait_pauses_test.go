package shipping_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/walvfs/walvfs/internal/shipping"
	"github.com/walvfs/walvfs/shipper/replica"
	"github.com/walvfs/walvfs/shipper/storage"
	"github.com/walvfs/walvfs/shipper/storage/storagetest"
)

// outage makes every request fail, and counts them.
func outage(store *storagetest.Memory, err error) (tries *atomic.Int64) {
	tries = new(atomic.Int64)
	store.SetBefore(func(context.Context, string, string) error {
		tries.Add(1)
		return err
	})
	return tries
}

// inLongPause returns when a pause of at least 15 s after a failure has just begun.
func inLongPause(tries *atomic.Int64) {
	time.Sleep(10 * time.Minute)
	for n := tries.Load(); tries.Load() == n; {
		time.Sleep(time.Millisecond)
	}
}

// Waiting callers shorten the pauses after failures to 2 s, and not to less, however many
// there are. After they have left, the pauses are long again.
func TestWaitShortensPauses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, db := newStore(t), newDB(1)
		s := shipping.New(db, store, shipping.Options{})
		defer s.Close()
		drain(t, s)
		tries := outage(store, errStore)
		_, place := db.commitAt(1)
		s.Wake()
		inLongPause(tries)
		ctx, cancel := context.WithCancel(t.Context())
		before := tries.Load()
		for range 1900 {
			begin(func() error { return s.Wait(ctx, place) })
			time.Sleep(time.Millisecond)
		}
		if got := tries.Load() - before; got != 0 {
			t.Errorf("%d tries within 1.9 s of the last one", got)
		}
		time.Sleep(200 * time.Millisecond)
		if got := tries.Load() - before; got != 1 {
			t.Errorf("%d tries after 2.1 s", got)
		}
		time.Sleep(time.Minute)
		if got := tries.Load() - before; got != 31 {
			t.Errorf("%d tries in a minute and 2 s", got)
		}
		cancel()
		synctest.Wait()
		if s.Waiters() != 0 {
			t.Errorf("%d wait", s.Waiters())
		}
		time.Sleep(2 * time.Second) // the last short pause
		before = tries.Load()
		time.Sleep(14 * time.Second)
		if got := tries.Load() - before; got != 0 {
			t.Errorf("%d tries in 14 s when nobody waits", got)
		}
		store.SetBefore(nil)
		drain(t, s)
		requireSame(t, store, db)
	})
}

// Waiting callers do not shorten the pause after an error that only an operator can fix.
func TestWaitRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, db := newStore(t), newDB(1)
		s := shipping.New(db, store, shipping.Options{})
		defer s.Close()
		drain(t, s)
		tries := outage(store, storage.ErrPermission)
		_, place := db.commitAt(1)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		err := s.Wait(ctx, place)
		if !errors.Is(err, context.DeadlineExceeded) || !errors.Is(err, storage.ErrPermission) {
			t.Error(err)
		}
		if n := tries.Load(); n > 7 {
			t.Errorf("%d tries in a minute", n)
		}
	})
}

// Drain does not wait for a pause to end.
func TestDrainEndsPause(t *testing.T) {
	for _, err := range []error{errStore, storage.ErrPermission} {
		synctest.Test(t, func(t *testing.T) {
			store, db := newStore(t), newDB(1)
			s := shipping.New(db, store, shipping.Options{Interval: time.Second})
			defer s.Close()
			drain(t, s)
			tries := outage(store, err)
			db.commit(1)
			s.Wake()
			inLongPause(tries)
			store.SetBefore(nil)
			start := time.Now()
			drain(t, s)
			if took := time.Since(start); took > 0 {
				t.Errorf("after %v, Drain took %s", err, took)
			}
			requireSame(t, store, db)
		})
	}
}

// No replica has the commits of a deleted bucket, until all of them are uploaded again.
func TestWaitBucketGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, db := newStore(t), newDB(2)
		db.recognize = func(tip *replica.Tip) error {
			db.mu.Lock()
			defer db.mu.Unlock()
			if tip == nil {
				db.dirty.AddRange(1, 3)
			}
			return nil
		}
		s := shipping.New(db, store, shipping.Options{})
		defer s.Close()
		_, place := db.commitAt(1)
		drain(t, s)
		outage(store, storage.ErrNoBucket)
		db.commit(2)
		s.Wake()
		time.Sleep(time.Minute)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := s.Wait(ctx, place); !errors.Is(err, storage.ErrNoBucket) {
			t.Errorf("while the bucket is gone: %v", err)
		}
		store.SetBefore(nil)
		for obj := range store.List(t.Context(), "", "") {
			store.Delete(t.Context(), obj.Key)
		}
		if err := s.Wait(t.Context(), place); err != nil {
			t.Error(err)
		}
		requireSame(t, store, db)
	})
}
