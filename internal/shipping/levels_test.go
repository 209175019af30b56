package shipping_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/walvfs/walvfs/format"
	"github.com/walvfs/walvfs/internal/shipping"
	"github.com/walvfs/walvfs/shipper"
	"github.com/walvfs/walvfs/shipper/replica"
	"github.com/walvfs/walvfs/shipper/storage"
)

// Under a steady load nothing is downloaded but a byte for each file of level 1, to see
// that the replica is there, and a listing comes only when there is something to delete.
func TestSteadyState(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, db := newStore(t), newDB(100)
		s := shipping.New(db, store, shipping.Options{Interval: time.Second, Policy: shipping.DefaultPolicy()})
		defer s.Close()
		drain(t, s) // which finds out about the store
		var mu sync.Mutex
		calls := map[string]int{}
		store.SetBefore(func(_ context.Context, op, key string) error {
			if f, ok := store.Layout().Parse(key); ok && op == "create" {
				op = fmt.Sprint(op, " ", f.Level)
			}
			mu.Lock()
			defer mu.Unlock()
			calls[op]++
			return nil
		})
		const hours = 3
		for i := range hours * 3600 {
			db.commit(uint32(i%100 + 1))
			s.Wake()
			time.Sleep(time.Second)
		}
		synctest.Wait()
		for op, most := range map[string]int{"create 0": 3600, "create 1": 120, "create 2": 12, "create 3": 1, "open": 120, "list": 12, "delete": 12} {
			if got := calls[op]; got > most*hours+1 || got < most*hours*8/10 {
				t.Errorf("%s: %d times in %d hours, not about %d an hour", op, got, hours, most)
			}
			delete(calls, op)
		}
		if len(calls) > 0 {
			t.Errorf("also %v", calls)
		}
		raw := 0
		for obj := range store.List(t.Context(), store.Layout().Dir(format.LevelRaw), "") {
			if obj.Key != "" {
				raw++
			}
		}
		if raw > 11*60 { // two times KeepRaw, and what level 1 lacks
			t.Errorf("%d files of level 0", raw)
		}
	})
}

// A level that cannot be made, or uploaded, is not in the way of commits.
func TestLevelsAreNotInTheWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, db := newStore(t), newDB(10)
		store.Before = func(_ context.Context, op, key string) error {
			if f, ok := store.Layout().Parse(key); ok && op == "create" && f.Level > format.LevelRaw {
				return storage.ErrPermission
			}
			return nil
		}
		s := shipping.New(db, store, shipping.Options{Interval: time.Second, Policy: shipping.DefaultPolicy()})
		defer s.Close()
		for i := range uint32(1000) {
			db.commit(i%10 + 1)
			drain(t, s)
			time.Sleep(10 * time.Second)
		}
		if st := s.Status(); st.State != shipper.Streaming || st.Tip.TXID != 1000 || !errors.Is(st.LevelsErr, storage.ErrPermission) {
			t.Errorf("%+v", st)
		}
		store.SetBefore(nil)
		time.Sleep(time.Hour)
		if st := s.Status(); st.LevelsErr != nil {
			t.Errorf("%+v", st)
		}
		levels := map[int]int{}
		for obj := range store.List(t.Context(), "", "") {
			if f, ok := store.Layout().Parse(obj.Key); ok {
				levels[f.Level]++
			}
		}
		if levels[1] == 0 || levels[2] == 0 || levels[3] == 0 {
			t.Errorf("files by level: %v", levels)
		}
	})
}

// A file that was cut for a bucket that is gone does not get into the one that takes
// its place.
func TestLevelsOfAnotherBucket(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, db := newStore(t), newDB(10)
		db.recognize = func(tip *replica.Tip) error {
			db.mu.Lock()
			defer db.mu.Unlock()
			if tip == nil {
				db.dirty.AddRange(1, 11)
			}
			return nil
		}
		s := shipping.New(db, store, shipping.Options{Interval: time.Second, Policy: shipping.DefaultPolicy()})
		defer s.Close()
		work := func(n int) {
			for i := range uint32(n) {
				db.commit(i%10 + 1)
				drain(t, s)
				time.Sleep(4 * time.Second)
			}
		}
		work(5)
		fail := func(_ context.Context, op, key string) error {
			if f, ok := store.Layout().Parse(key); ok && op == "create" && f.Level > format.LevelRaw {
				return storage.ErrNoBucket
			}
			return nil
		}
		store.SetBefore(fail)
		work(20) // a file of level 1 waits
		type asOperator struct{}
		operator := context.WithValue(t.Context(), asOperator{}, true)
		store.SetBefore(func(ctx context.Context, _, _ string) error {
			if ctx.Value(asOperator{}) != nil {
				return nil
			}
			return storage.ErrNoBucket
		})
		db.commit(1)
		s.Wake()
		time.Sleep(time.Minute)
		// A retry may be due at this moment, and must not see the old bucket again.
		for obj := range store.List(operator, "", "") {
			if err := store.Delete(operator, obj.Key); err != nil {
				t.Fatal(err)
			}
		}
		store.SetBefore(nil)
		again := time.Now()
		s.Wake()
		time.Sleep(time.Minute)
		work(40)
		time.Sleep(time.Minute)
		for obj := range store.List(t.Context(), "", "") {
			if obj.ModTime.Before(again) {
				t.Errorf("%s is of the other bucket", obj.Key)
			}
		}
		if tip := s.Status().Tip.TXID; tip > 60 {
			t.Errorf("the log goes on at %s", tip)
		}
	})
}

// Neither a commit nor a close waits for a snapshot that is due, or being made.
func TestNothingWaitsForLevels(t *testing.T) {
	for _, begun := range []time.Duration{0, 5 * time.Second} {
		for _, closing := range []bool{false, true} {
			synctest.Test(t, func(t *testing.T) {
				store, db := newStore(t), newDB(1000)
				s := shipping.New(db, store, shipping.Options{Policy: shipping.Policy{Snapshots: time.Minute}})
				defer s.Close()
				drain(t, s)
				db.slow.Store(int64(100 * time.Millisecond)) // 100 s for all pages
				if begun > 0 {
					time.Sleep(time.Minute + begun)
				} else {
					time.Sleep(time.Minute)
				}
				wait := s.Drain
				if closing {
					wait = s.Finish
				}
				for range 3 {
					db.commit(7)
					s.Wake()
					ctx, cancel := context.WithTimeout(t.Context(), time.Second)
					if err := wait(ctx); err != nil {
						t.Errorf("%s after a snapshot was begun: %v", begun, err)
					}
					cancel()
				}
				if closing {
					return
				}
				time.Sleep(3 * time.Minute)
				snapshots := 0
				for obj := range store.List(t.Context(), store.Layout().Dir(format.LevelSnapshot), "") {
					if obj.Size > 0 {
						snapshots++
					}
				}
				if snapshots == 0 {
					t.Error("there is no snapshot")
				}
			})
		}
	}
}

// A file of a level is uploaded only once the replica has the TXID that it ends with,
// which may never be: then its pages are in the next one.
func TestLevelsFollowAcknowledgement(t *testing.T) {
	for _, end := range []error{errStore, storage.ErrExists} {
		synctest.Test(t, func(t *testing.T) {
			store, db := newStore(t), newDB(10)
			s := shipping.New(db, store, shipping.Options{Interval: 20 * time.Second, Policy: shipping.DefaultPolicy()})
			drain(t, s)
			time.Sleep(12 * time.Second)
			db.commit(1)
			drain(t, s)
			store.SetBefore(func(_ context.Context, op, key string) error {
				if f, ok := store.Layout().Parse(key); ok && op == "create" && f.Level == format.LevelRaw {
					return end
				}
				return nil
			})
			db.commit(2)
			s.Wake() // is cut after 32 s, when level 1 is due
			time.Sleep(5 * time.Minute)
			s.Close()
			for obj := range store.List(t.Context(), "", "") {
				if f, ok := store.Layout().Parse(obj.Key); ok && f.MaxTXID > 2 {
					t.Errorf("%v: %s is there", end, obj.Key)
				}
			}
		})
	}
}

// Thousands of databases may have a snapshot due at a time. A few are made at once.
func TestFewMakeLevels(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var made atomic.Int64
		const dbs = 20
		for range dbs {
			db := newDB(100)
			s := shipping.New(db, newStore(t), shipping.Options{
				Policy: shipping.Policy{Snapshots: time.Minute},
				Events: func(e shipper.Event) {
					if e, ok := e.(shipper.Encoded); ok && e.Level == format.LevelSnapshot {
						made.Add(1)
					}
				},
			})
			defer s.Close()
			drain(t, s)
			db.slow.Store(int64(100 * time.Millisecond)) // 10 s for a snapshot
		}
		time.Sleep(time.Minute + 10*time.Second + time.Millisecond)
		if n := made.Load(); n == 0 || n > 8 {
			t.Errorf("%d snapshots were made at once", n)
		}
		time.Sleep(2 * time.Minute)
		if n := made.Load(); n != dbs {
			t.Errorf("%d snapshots of %d databases", n, dbs)
		}
	})
}

// Who waits until what is due is done also waits until others are done.
func TestCompactWaitsForAnEncoder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var all sync.WaitGroup
		for range 20 {
			db, store := newDB(100), newStore(t)
			s := shipping.New(db, store, shipping.Options{Policy: shipping.Policy{Snapshots: time.Minute}})
			defer s.Close()
			drain(t, s)
			db.slow.Store(int64(100 * time.Millisecond)) // 10 s for a snapshot
			all.Go(func() {
				time.Sleep(time.Minute + time.Second)
				if err := s.Compact(t.Context()); err != nil {
					t.Error(err)
				}
				for range store.List(t.Context(), store.Layout().Dir(format.LevelSnapshot), "") {
					return
				}
				t.Error("there is no snapshot")
			})
		}
		all.Wait()
	})
}

// A file is uploaded once the disk has what it was cut from and the intent, which do not
// wait for each other.
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

// A cut that cannot be read is abandoned once the disk is done with it.
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

// A file of a level that is being made when its level 0 file fails does not stand for
// the next one of that TXID: its pages are in another file of the level.
func TestAbandonedWhileMakingLevel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, db := newStore(t), newDB(100)
		s := shipping.New(db, store, shipping.Options{Interval: 20 * time.Second, Policy: shipping.Policy{Levels: []time.Duration{30 * time.Second}}})
		defer s.Close()
		drain(t, s)
		time.Sleep(time.Minute) // there is a file of level 1, with every page
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
		s.Wake() // is cut after 32 s, when level 1 is due, and once more soon after
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

// A level whose file is being made when a large file with every page comes begins anew:
// it gets files after that, too.
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
		db.slow.Store(int64(10 * time.Minute)) // to read the page for the file of level 1
		time.Sleep(2 * time.Second)
		synctest.Wait()
		db.slow.Store(0)
		db.whole.Store(true)
		db.commit(5)
		drain(t, s)
		db.whole.Store(false)
		time.Sleep(time.Hour) // the file of level 1 is made, and nobody wants it
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

// A file that was there before is not deleted because the replica was looked at anew while
// it was uploaded once more: retention may have relied on it.
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
		time.Sleep(2 * time.Second) // it is uploaded again
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
