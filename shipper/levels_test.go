package shipper_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/walvfs/walvfs/format"
	"github.com/walvfs/walvfs/shipper"
	"github.com/walvfs/walvfs/shipper/storage"
)

// Under a steady load nothing is downloaded, and a listing comes only when there is
// something to delete.
func TestSteadyState(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, db := newStore(t), newDB(100)
		s := shipper.New(db, store, shipper.Options{Interval: time.Second, Policy: shipper.DefaultPolicy()})
		defer s.Close()
		drain(t, s) // which finds out about the store
		var mu sync.Mutex
		calls := map[string]int{}
		store.SetBefore(func(_ context.Context, op, key string) error {
			if f, ok := store.Layout().Parse(key); ok && op != "delete" {
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
		for op, most := range map[string]int{"create 0": 3600, "create 1": 120, "create 2": 12, "create 3": 1, "list": 12, "delete": 12} {
			if got := calls[op]; got > most*hours+1 || got < most*hours*8/10 {
				t.Errorf("%s: %d times in %d hours, not about %d an hour", op, got, hours, most)
			}
			delete(calls, op)
		}
		if len(calls) > 0 {
			t.Errorf("also %v", calls)
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
		s := shipper.New(db, store, shipper.Options{Interval: time.Second, Policy: shipper.DefaultPolicy()})
		defer s.Close()
		for i := range uint32(1000) {
			db.commit(i%10 + 1)
			drain(t, s)
			time.Sleep(10 * time.Second)
		}
		if st := s.Status(); st.State != shipper.Streaming || st.Tip.TXID != 1000 {
			t.Errorf("%+v", st)
		}
		store.SetBefore(nil)
		time.Sleep(time.Hour)
		levels := map[int]int{}
		for obj := range store.List(t.Context(), "", "") {
			if f, ok := store.Layout().Parse(obj.Key); ok {
				levels[f.Level]++
			}
		}
		if levels[1] == 0 || levels[2] == 0 || levels[3] == 0 || levels[0] > 10 {
			t.Errorf("files by level: %v", levels)
		}
	})
}
