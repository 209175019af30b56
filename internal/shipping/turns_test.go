package shipping_test

import (
	"context"
	"crypto/rand"
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/walvfs/walvfs/format"
	"github.com/walvfs/walvfs/internal/shipping"
	"github.com/walvfs/walvfs/shipper/storage/storagetest"
)

// A crowd is many databases whose replicas share one bucket. Each upload to it takes some
// time.
type crowd struct {
	dbs       []*fakeDB
	ships     []*shipping.Shipper
	stores    []*storagetest.Memory
	raw, rest inFlight     // uploads of level 0, and of levels
	levels    atomic.Int64 // uploaded files of levels
}

// inFlight counts current uploads, and the maximum so far.
type inFlight struct{ now, most atomic.Int64 }

func (f *inFlight) begin() {
	if n := f.now.Add(1); n > f.most.Load() {
		f.most.Store(n)
	}
}

const uploadTakes = 10 * time.Millisecond

func newCrowd(t *testing.T, n int, turns int64, policy shipping.Policy) *crowd {
	usual := shipping.MaxConcurrent
	shipping.MaxConcurrent = turns
	defer func() { shipping.MaxConcurrent = usual }()
	c, bucket := &crowd{}, rand.Text()
	for i := range n {
		store, db := &storagetest.Memory{Name: fmt.Sprint(bucket, "/", i)}, newDB(2)
		store.SetBefore(c.upload)
		s := shipping.New(db, store, shipping.Options{Policy: policy})
		t.Cleanup(func() { s.Close() })
		c.dbs, c.ships, c.stores = append(c.dbs, db), append(c.ships, s), append(c.stores, store)
		drain(t, s)
	}
	return c
}

func (c *crowd) upload(_ context.Context, op, key string) error {
	f, ok := format.LayoutHex.Parse(key)
	if op != "create" || !ok {
		return nil
	}
	kind := &c.raw
	if f.Level != format.LevelRaw {
		c.levels.Add(1)
		kind = &c.rest
	}
	kind.begin()
	time.Sleep(uploadTakes)
	kind.now.Add(-1)
	return nil
}

// commitAlways lets databases commit and wait for the replica, until ctx ends.
func (c *crowd) commitAlways(ctx context.Context, dbs ...int) {
	for _, i := range dbs {
		go func() {
			for ctx.Err() == nil {
				c.dbs[i].commit(1)
				c.ships[i].Drain(ctx)
			}
		}()
	}
}

// Databases of one bucket take turns in the order in which they come: busy databases get
// equal shares, and do not keep other databases waiting.
func TestTurns(t *testing.T) {
	for _, turns := range []int64{1, 3} {
		t.Run(fmt.Sprint(turns), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				const busy = 12
				c := newCrowd(t, busy+1, turns, shipping.Policy{})
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				for i := range busy {
					c.commitAlways(ctx, i)
				}
				quiet := c.ships[busy]
				for range 50 {
					time.Sleep(123 * time.Millisecond)
					c.dbs[busy].commit(1)
					start := time.Now()
					drain(t, quiet)
					// One round for a step that ships, and one for a step without
					// changes.
					if took, most := time.Since(start), 2*uploadTakes*(busy/time.Duration(turns)+1); took > most {
						t.Errorf("a quiet database waits %s, not %s at most", took, most)
					}
				}
				cancel()
				synctest.Wait()
				var least, most int64 = 1 << 60, 0
				for _, s := range c.ships[:busy] {
					n := s.Status().Uploads
					least, most = min(least, n), max(most, n)
				}
				if most-least > most/10+1 {
					t.Errorf("busy databases had %d to %d uploads", least, most)
				}
				if n := c.raw.most.Load(); n != turns {
					t.Errorf("%d uploads at a time, not %d", n, turns)
				}
			})
		})
	}
}

// Uploads of levels have turns separate from those of commits, and both continue.
func TestLevelsTakeTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		policy := shipping.Policy{Levels: []time.Duration{100 * time.Millisecond}, Snapshots: time.Second, KeepRaw: time.Hour}
		c := newCrowd(t, 5, 2, policy)
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		c.commitAlways(ctx, 0, 1, 2, 3, 4)
		<-ctx.Done()
		synctest.Wait()
		if raw, rest := c.raw.most.Load(), c.rest.most.Load(); raw != 2 || rest != 1 {
			t.Errorf("%d uploads at a time, and %d of levels", raw, rest)
		}
		if n := c.levels.Load(); n < 100 {
			t.Errorf("%d files of levels in 20 s", n)
		}
		for i, s := range c.ships {
			if n := s.Status().Uploads; n < 400 {
				t.Errorf("%d uploads of database %d", n, i)
			}
			drain(t, s)
			requireSame(t, c.stores[i], c.dbs[i])
		}
	})
}

// Commits continue, however many uploads of level files hang.
func TestHungLevels(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const turns = 4
		policy := shipping.Policy{Snapshots: time.Second, KeepRaw: time.Hour}
		c := newCrowd(t, 3*turns, turns, policy)
		for i, store := range c.stores {
			store.SetBefore(func(ctx context.Context, op, key string) error {
				if f, ok := format.LayoutHex.Parse(key); ok && op == "create" && f.Level > format.LevelRaw {
					c.rest.begin()
					<-ctx.Done()
					return ctx.Err()
				}
				return nil
			})
			c.dbs[i].commit(1)
			c.ships[i].Wake()
		}
		time.Sleep(time.Minute)
		if c.rest.most.Load() == 0 {
			t.Fatal("no file of a level was uploaded")
		}
		for i, s := range c.ships {
			c.dbs[i].commit(2)
			start := time.Now()
			drain(t, s)
			if took := time.Since(start); took > time.Second {
				t.Errorf("a commit of database %d takes %s", i, took)
			}
		}
	})
}
