package shipping_test

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/walvfs/walvfs/format"
	"github.com/walvfs/walvfs/internal/shipping"
	"github.com/walvfs/walvfs/shipper/storage"
)

// A file is uploaded once the pages that it was cut from and the intent are on the disk.
// These two do not wait for each other.
func TestFlushBeforeUpload(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, db := newStore(t), newDB(3)
		var synced atomic.Int64
		db.syncErr = func() error {
			time.Sleep(time.Second)
			if db.intents() != int(synced.Load())+1 {
				t.Error("the intent waits for the sync")
			}
			synced.Add(1)
			return nil
		}
		store.SetBefore(func(_ context.Context, op, key string) error {
			if f, ok := store.Layout().Parse(key); op == "create" && ok && f.Level == 0 && (synced.Load() != int64(f.MaxTXID) || db.intents() != int(f.MaxTXID)) {
				t.Errorf("TXID %s is uploaded after %d syncs and %d intents", f.MaxTXID, synced.Load(), db.intents())
			}
			return nil
		})
		s := shipping.New(db, store, shipping.Options{})
		defer s.Close()
		for page := range uint32(3) {
			db.commit(page + 1)
			drain(t, s)
		}
		if tip := s.Status().Tip.TXID; tip < 3 {
			t.Errorf("TXID %s", tip)
		}
	})
}

// An unreadable cut is abandoned once the disk has finished with it.
func TestFlushBeforeAbandoned(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, db := newStore(t), newDB(3)
		db.syncErr = func() error { time.Sleep(time.Second); return nil }
		var closed atomic.Int64
		db.closeErr = func() error {
			if closed.Add(1) == 1 {
				return errStore
			}
			return nil
		}
		s := shipping.New(db, store, shipping.Options{})
		defer s.Close()
		drain(t, s)
		if n := closed.Load(); n != 2 {
			t.Errorf("%d cuts", n)
		}
	})
}

// If a level's file is being made when the level 0 file of its TXID fails, it does not
// stand for the next file of that TXID: its pages are in another file of the level.
func TestAbandonedWhileMakingLevel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, db := newStore(t), newDB(100)
		s := shipping.New(db, store, shipping.Options{Interval: 20 * time.Second, Policy: shipping.Policy{Levels: []time.Duration{30 * time.Second}}})
		defer s.Close()
		drain(t, s)
		time.Sleep(time.Minute) // a file of level 1 exists, with every page
		db.commit(3, 4, 5, 6, 7)
		drain(t, s)
		time.Sleep(12 * time.Second)
		db.commit(1)
		drain(t, s)
		var tries atomic.Int64
		db.syncErr = func() error {
			if tries.Add(1) == 1 {
				return errStore
			}
			return nil
		}
		db.slow.Store(int64(2 * time.Second)) // 10 s and more for a file of level 1
		db.commit(2)
		s.Wake() // cut after 32 s, when level 1 is due, and again soon after
		time.Sleep(5 * time.Minute)
		if tip := s.Status().Tip.TXID; tip != 4 || tries.Load() != 2 {
			t.Fatalf("TXID %s after %d tries", tip, tries.Load())
		}
		held := false
		for obj := range store.List(t.Context(), store.Layout().Dir(1), "") {
			f, ok := store.Layout().Parse(obj.Key)
			if !ok || f.MaxTXID < 4 {
				continue
			}
			r, _, err := store.Open(t.Context(), obj.Key, 0, -1)
			if err != nil {
				t.Fatal(err)
			}
			if _, _, err := format.Decode(r, func(_ format.LTXHeader, pgno uint32, _ []byte) error {
				held = held || pgno == 2
				return nil
			}); err != nil {
				t.Error(err)
			}
		}
		if !held {
			t.Error("no file of level 1 holds what TXID 4 does")
		}
	})
}

// If a large file with every page comes while a level's file is being made, the level
// starts over and gets files after that, too.
func TestLevelGoesOnAfterWhole(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		defer shipping.SetLarge(1)()
		store, db := newStore(t), newDB(20)
		s := shipping.New(db, store, shipping.Options{Policy: shipping.Policy{Levels: []time.Duration{30 * time.Second}}})
		defer s.Close()
		drain(t, s)
		db.commit(3)
		drain(t, s)
		time.Sleep(29 * time.Second)
		db.slow.Store(int64(10 * time.Minute)) // time to read the page for the file of level 1
		time.Sleep(2 * time.Second)
		synctest.Wait()
		db.slow.Store(0)
		db.whole.Store(true)
		db.commit(5)
		drain(t, s)
		db.whole.Store(false)
		time.Sleep(time.Hour) // the file of level 1 is made, but no longer needed
		for range 10 {
			db.commit(6)
			drain(t, s)
			time.Sleep(time.Minute)
		}
		synctest.Wait()
		if levelFiles(store)[1] == 0 {
			t.Errorf("no file of level 1 in 10 minutes: %v; %+v", levelFiles(store), s.Status().Jobs)
		}
	})
}

// The shipper does not delete an older file because the replica was examined again while
// the file was uploaded once more: retention may have relied on it.
func TestOldLevelFileIsKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, db := newStore(t), newDB(10)
		var tries, raws atomic.Int64
		var level1 atomic.Value
		var vanish atomic.Bool
		isLevel1 := func(key string) bool {
			f, ok := store.Layout().Parse(key)
			return ok && f.Level == 1
		}
		store.After = func(_ context.Context, op, key string) error {
			if op == "create" && isLevel1(key) && tries.Add(1) == 1 {
				level1.Store(key)
				return errStore // the answer is lost
			}
			return nil
		}
		store.SetBefore(func(_ context.Context, op, key string) error {
			switch {
			case op == "create" && isLevel1(key) && tries.Load() == 1:
				time.Sleep(5 * time.Second)
			case op == "create" && !isLevel1(key) && vanish.Swap(false):
				raws.Add(1)
				return storage.ErrNoBucket
			}
			return nil
		})
		s := shipping.New(db, store, shipping.Options{Policy: shipping.Policy{Levels: []time.Duration{30 * time.Second}}})
		defer s.Close()
		drain(t, s)
		db.commit(2)
		drain(t, s)
		for tries.Load() == 0 {
			time.Sleep(time.Second)
		}
		time.Sleep(2 * time.Second) // the file is uploaded again
		vanish.Store(true)
		db.commit(3)
		s.Wake()
		time.Sleep(20 * time.Second)
		synctest.Wait()
		key, _ := level1.Load().(string)
		r, _, err := store.Open(t.Context(), key, 0, -1)
		if err != nil {
			t.Fatalf("%s, after %d refusals: %v", key, raws.Load(), err)
		}
		r.Close()
	})
}
