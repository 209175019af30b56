package shipping_test

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/walvfs/walvfs/format"
	"github.com/walvfs/walvfs/internal/shipping"
	"github.com/walvfs/walvfs/shipper/replica"
	"github.com/walvfs/walvfs/shipper/storage"
	"github.com/walvfs/walvfs/shipper/storage/storagetest"
)

// A replica fed only by short runs, such as those of cron, stays about as small as a
// replica fed by a server, however far apart the runs are.
func TestMonthsOfShortRuns(t *testing.T) {
	for name, test := range map[string]struct {
		every time.Duration
		runs  int
	}{
		"every 5 seconds": {5 * time.Second, 600},
		"every 5 minutes": {5 * time.Minute, 150},
		"every day":       {24 * time.Hour, 10},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				served := filesOf(t, feed(t, test.runs, test.every, false))
				short := filesOf(t, feed(t, test.runs, test.every, true))
				t.Logf("files by level: %v of a server, %v of short runs", served, short)
				if n, most := total(short), total(served)*5/4+10; n > most {
					t.Errorf("%d files, not %d at most", n, most)
				}
			})
		})
	}
}

// feed commits at intervals, in one long run or in many short runs.
func feed(t *testing.T, commits int, every time.Duration, short bool) *storagetest.Memory {
	store, db := newStore(t), newDB(10)
	open := func() *shipping.Shipper {
		return shipping.New(db, store, shipping.Options{Interval: time.Second, Policy: shipping.DefaultPolicy()})
	}
	s := open()
	for i := range commits {
		db.commit(uint32(i%10 + 1))
		s.Wake()
		if short {
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			if err := s.Finish(ctx); err != nil {
				t.Fatal(err)
			}
			cancel()
			s.Close()
			s = open()
		}
		time.Sleep(every)
	}
	drain(t, s)
	synctest.Wait()
	s.Close()
	return store
}

func filesOf(t *testing.T, store *storagetest.Memory) (levels [format.LevelSnapshot + 1]int) {
	t.Helper()
	files, err := replica.All(t.Context(), store)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		levels[f.Level]++
	}
	return levels
}

func total(levels [format.LevelSnapshot + 1]int) (n int) {
	for _, of := range levels {
		n += of
	}
	return n
}

// Whichever jobs fail, in whatever order, each job recovers by itself.
func TestJobsFailInEveryOrder(t *testing.T) {
	fails := []string{"create 0", "create 1", "create 9", "list", "delete"}
	for _, order := range permutations(fails) {
		synctest.Test(t, func(t *testing.T) {
			store, db := newStore(t), newDB(10)
			next := make(chan string, 1)
			store.SetBefore(func(_ context.Context, op, key string) error {
				if f, ok := store.Layout().Parse(key); ok && op == "create" {
					op = []string{"create 0", "create 1", "", "", "", "", "", "", "", "create 9"}[f.Level]
				}
				select {
				case fails := <-next:
					if fails == op {
						return &storage.Error{Op: op, Err: storage.ErrPermission}
					}
					next <- fails
				default:
				}
				return nil
			})
			policy := shipping.Policy{Levels: []time.Duration{30 * time.Second}, Snapshots: 4 * time.Minute, KeepRaw: 5 * time.Minute, Keep: 10 * time.Minute}
			s := shipping.New(db, store, shipping.Options{Policy: policy})
			defer s.Close()
			const each = 8
			for i := range each * (len(order) + 1) {
				if i%each == each/2 && i/each < len(order) {
					next <- order[i/each]
				}
				db.commit(uint32(i%10 + 1))
				drain(t, s)
				time.Sleep(50 * time.Second)
			}
			if len(next) > 0 {
				t.Fatalf("%v: %s did not come to fail", order, <-next)
			}
			time.Sleep(time.Minute)
			if st := s.Status(); st.Err != nil || st.LevelsErr != nil || st.Failures != int64(len(order)) {
				t.Errorf("%v: %+v", order, st)
			}
			levels := filesOf(t, store)
			if levels[0] > 80 || levels[1] == 0 || levels[1] > 40 || levels[9] == 0 || levels[9] > 5 {
				t.Errorf("%v: files by level: %v", order, levels)
			}
		})
	}
}

func permutations(of []string) (all [][]string) {
	if len(of) == 0 {
		return [][]string{nil}
	}
	for i, first := range of {
		rest := append(append([]string(nil), of[:i]...), of[i+1:]...)
		for _, p := range permutations(rest) {
			all = append(all, append([]string{first}, p...))
		}
	}
	return all
}

// If the store allows no deletion, all other jobs continue, and retention does not retry
// constantly.
func TestAppendOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, db := newStore(t), newDB(10)
		deletes := 0
		store.SetBefore(func(_ context.Context, op, key string) error {
			if op == "delete" && strings.HasSuffix(key, ".ltx") {
				deletes++
				return &storage.Error{Op: op, Err: storage.ErrPermission}
			}
			return nil
		})
		s := shipping.New(db, store, shipping.Options{Policy: shipping.DefaultPolicy()})
		defer s.Close()
		const days = 2
		for i := range days * 24 * 6 {
			db.commit(uint32(i%10 + 1))
			drain(t, s)
			time.Sleep(10 * time.Minute)
		}
		levels := filesOf(t, store)
		if levels[1] != levels[0] || levels[3] < days*18 || levels[9] < days-1 {
			t.Errorf("files by level: %v", levels)
		}
		if deletes == 0 || deletes > days*24*12 {
			t.Errorf("%d tries to delete in %d days", deletes, days)
		}
		requireSame(t, store, db)
	})
}

// A short run that compacts at its close does not wait for the interval.
func TestFinishDoesNotWaitForTheInterval(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, db := newStore(t), newDB(10)
		for i := range 6 {
			s := shipping.New(db, store, shipping.Options{Interval: time.Hour, Policy: shipping.Policy{Levels: []time.Duration{30 * time.Second}}})
			db.commit(2)
			start := time.Now()
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			if err := s.Finish(ctx); err != nil {
				t.Error(err)
			}
			cancel()
			if took := time.Since(start); took > time.Second {
				t.Errorf("run %d: Finish took %s: %+v", i, took, s.Status().Jobs[:2])
			}
			s.Close()
			time.Sleep(10 * time.Minute)
		}
		if levelFiles(store)[1] == 0 {
			t.Errorf("%v", levelFiles(store))
		}
	})
}
