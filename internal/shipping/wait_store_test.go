package shipping_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/walvfs/walvfs/internal/shipping"
	"github.com/walvfs/walvfs/shipper/replica"
	"github.com/walvfs/walvfs/shipper/storage"
)

// No replica has the commits of a deleted bucket.
func TestWaitBucketJustGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, db := newStore(t), newDB(2)
		s := shipping.New(db, store, shipping.Options{})
		defer s.Close()
		db.recognize = func(tip *replica.Tip) error {
			db.mu.Lock()
			defer db.mu.Unlock()
			if tip == nil {
				db.dirty.AddRange(1, 3)
			}
			return nil
		}
		_, place := db.commitAt(1)
		drain(t, s)
		outage(store, storage.ErrNoBucket)
		db.commit(2)
		s.Wake()
		synctest.Wait() // the store has reported it
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := s.Wait(ctx, place); !errors.Is(err, storage.ErrNoBucket) {
			t.Errorf("with the bucket gone: %v", err)
		}
		// The bucket exists again, and is empty.
		var keys []string
		store.SetBefore(nil)
		for obj := range store.List(t.Context(), "", "") {
			if strings.HasSuffix(obj.Key, ".ltx") {
				keys = append(keys, obj.Key)
			}
		}
		store.Delete(t.Context(), keys...)
		if err := s.Wait(t.Context(), place); err != nil {
			t.Error(err)
		}
		n := 0
		for range store.List(t.Context(), store.Layout().Dir(0), "") {
			n++
		}
		if n == 0 {
			t.Error("the replica is empty")
		}
	})
}

// A single failure does not cost a whole interval.
func TestRetryWithinInterval(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, db := newStore(t), newDB(1)
		n := created(store)
		s := shipping.New(db, store, shipping.Options{Interval: time.Hour})
		defer s.Close()
		drain(t, s)
		time.Sleep(2 * time.Hour)
		failed := false
		store.SetBefore(func(context.Context, string, string) error {
			if !failed {
				failed = true
				return errStore
			}
			return nil
		})
		before := n.Load()
		db.commit(1)
		s.Wake()
		time.Sleep(time.Minute)
		if n.Load() == before {
			t.Error("not tried again within a minute of a failure")
		}
	})
}
