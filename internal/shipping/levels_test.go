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

// Under a steady load, the shipper downloads only one byte for each file of level 1, to
// check that the replica exists, and requests a listing only when it has files to delete.
func TestSteadyState(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, db := newStore(t), newDB(100)
		s := shipping.New(db, store, shipping.Options{Interval: time.Second, Policy: shipping.DefaultPolicy()})
		defer s.Close()
		drain(t, s) // the shipper probes the store
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
		if raw > 11*60 { // twice KeepRaw, and the files that level 1 lacks
			t.Errorf("%d files of level 0", raw)
		}
	})
}

// Commits do not wait for a level whose file cannot be made or uploaded.
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

// A file cut for a deleted bucket is not uploaded to the bucket that replaces it.
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

// Neither a commit nor a close waits for a snapshot that is due or being made.
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

// A file of a level is uploaded only once the replica has the TXID with which it ends. If
// it never does, the file's pages are in the next file.
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
			s.Wake() // cut after 32 s, when level 1 is due
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

// Thousands of databases may have a due snapshot at the same time. Only a few are made at
// once.
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

// A caller that waits for all due work also waits for the encoders that other databases
// use.
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
