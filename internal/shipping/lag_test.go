package shipping_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/walvfs/walvfs/internal/shipping"
	"github.com/walvfs/walvfs/shipper"
	"github.com/walvfs/walvfs/shipper/replica"
	"github.com/walvfs/walvfs/shipper/storage"
)

// From a commit until its acknowledgement, the lag is never 0 and only grows, whatever
// fails in between.
func TestLagUntilAcknowledged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, db := newStore(t), newDB(3)
		s := shipping.New(db, store, shipping.Options{Policy: shipping.DefaultPolicy()})
		defer s.Close()
		drain(t, s)

		var mu sync.Mutex
		var last time.Duration
		look := func(where string) {
			if s.Status().Tip.TXID == 2 {
				return
			}
			mu.Lock()
			defer mu.Unlock()
			lag := s.Lag()
			if lag == 0 || lag < last {
				t.Errorf("%s: lag %s after %s", where, lag, last)
			}
			last = lag
		}
		fails := map[string]int{"cut": 2, "sync": 2, "create": 2, "list": 2}
		fail := func(where string, err error) error {
			look(where)
			if fails[where]--; fails[where] >= 0 {
				return err
			}
			return nil
		}
		db.slow.Store(int64(100 * time.Millisecond))
		db.cutErr = func() error { return fail("cut", errStore) }
		db.syncErr = func() error { return fail("sync", errStore) }
		store.SetBefore(func(_ context.Context, op, key string) error {
			if op == "create" && !strings.HasSuffix(key, ".ltx") {
				return nil
			}
			return fail(op, &storage.Error{Op: op, Err: storage.ErrNoBucket})
		})
		db.commit(1)
		s.Wake()
		for s.Status().Tip.TXID != 2 {
			look("now and then")
			time.Sleep(time.Millisecond)
		}
		synctest.Wait()
		if lag := s.Lag(); lag != 0 {
			t.Errorf("all is acknowledged, the lag is %s", lag)
		}
		if fails["cut"] >= 0 || fails["sync"] >= 0 || fails["create"] >= 0 || fails["list"] >= 0 {
			t.Errorf("not everything has failed: %v", fails)
		}
	})
}

// A deleted replica lacks every commit, whichever job notices the deletion first.
func TestLagOfLostBucket(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, db := newStore(t), newDB(3)
		s := shipping.New(db, store, shipping.Options{Policy: shipping.Policy{Levels: []time.Duration{30 * time.Second}, KeepRaw: 5 * time.Minute}})
		defer s.Close()
		drain(t, s)
		outage(store, fmt.Errorf("create: %w", storage.ErrNoBucket))
		time.Sleep(time.Hour) // retention notices the deletion
		if s.Lag() == 0 {
			t.Error("the bucket is gone, and the lag is 0")
		}
	})
}

// A commit of another process, of which the shipper was not notified, is unacknowledged
// from the moment at which the shipper finds it.
func TestLagOfForeignCommit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, db := newStore(t), newDB(3)
		s := shipping.New(db, store, shipping.Options{})
		defer s.Close()
		drain(t, s)
		outage(store, errStore)
		db.commit(1)
		s.Look()
		synctest.Wait()
		if s.Lag() == 0 {
			t.Error("the upload has failed, and the lag is 0")
		}
		store.SetBefore(nil)
		drain(t, s)
		if lag := s.Lag(); lag != 0 {
			t.Errorf("all is acknowledged, the lag is %s", lag)
		}
	})
}

// The lag of a halted database keeps growing.
func TestLagOfHaltedDatabase(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, db := newStore(t), newDB(1)
		db.recognize = func(*replica.Tip) error { return shipper.ErrDiverged }
		s := shipping.New(db, store, shipping.Options{})
		defer s.Close()
		s.Wake()
		if err := s.Drain(t.Context()); !errors.Is(err, shipper.ErrDiverged) {
			t.Fatal(err)
		}
		time.Sleep(time.Hour)
		if lag := s.Lag(); lag != time.Hour {
			t.Errorf("lag %s", lag)
		}
	})
}
