package shipping_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/walvfs/walvfs/internal/shipping"
	"github.com/walvfs/walvfs/shipper"
)

// Close ends an upload that hangs, and answers every waiting caller.
func TestClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, db := newStore(t), newDB(1)
		s := shipping.New(db, store, shipping.Options{})
		drain(t, s)
		store.Before = func(ctx context.Context, _, _ string) error {
			<-ctx.Done()
			return ctx.Err()
		}
		var wg sync.WaitGroup
		for range 5 {
			db.commit(1)
			wg.Go(func() {
				if err := s.Drain(context.Background()); !errors.Is(err, shipper.ErrClosed) {
					t.Errorf("a waiter got %v", err)
				}
			})
			synctest.Wait()
		}
		s.Close()
		wg.Wait()
		s.Wake() // Wake is harmless
		if err := s.Drain(context.Background()); !errors.Is(err, shipper.ErrClosed) {
			t.Errorf("after Close: %v", err)
		}
		if db.cuts != db.settled {
			t.Errorf("%d cuts, %d of them settled", db.cuts, db.settled)
		}
	})
}

// Close does not wait for a slow cut, except for the 256 KiB that are being read.
func TestCloseDuringCut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, db := newStore(t), newDB(20000)
		db.slow.Store(int64(10 * time.Millisecond)) // 5 s for 256 KiB
		s := shipping.New(db, store, shipping.Options{})
		s.Wake()
		time.Sleep(time.Minute)
		start := time.Now()
		s.Close()
		if took := time.Since(start); took > 6*time.Second || db.cuts != 1 || db.settled != 1 {
			t.Errorf("Close took %s; %d cuts, %d settled", took, db.cuts, db.settled)
		}
	})
}

// Drain returns when its context ends, with the error of replication.
func TestDrainTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, db := newStore(t), newDB(1)
		store.Before = func(context.Context, string, string) error { return errStore }
		s := shipping.New(db, store, shipping.Options{})
		defer s.Close()
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := s.Drain(ctx); !errors.Is(err, context.DeadlineExceeded) || !errors.Is(err, errStore) {
			t.Error(err)
		}
	})
}
