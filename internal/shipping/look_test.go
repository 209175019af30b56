package shipping_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/walvfs/walvfs/format"
	"github.com/walvfs/walvfs/internal/shipping"
	"github.com/walvfs/walvfs/shipper"
	"github.com/walvfs/walvfs/shipper/replica"
	"github.com/walvfs/walvfs/shipper/storage/storagetest"
)

// The shipper notices and reports files that vanish from the replica. If the newest state
// cannot be restored without them, a snapshot replaces them: a base file about as soon as
// a file of level 1 is made, other files when retention runs.
func TestVanished(t *testing.T) {
	all := func(format.FileInfo) bool { return true }
	for name, test := range map[string]struct {
		gone func(format.FileInfo) bool
		in   time.Duration
	}{
		"all":                {all, time.Minute},
		"all but the newest": {func(f format.FileInfo) bool { return f.MaxTXID < 300 }, time.Minute},
		"snapshots":          {func(f format.FileInfo) bool { return f.MinTXID == 1 }, time.Minute},
		"levels":             {func(f format.FileInfo) bool { return f.Level > 0 && f.MinTXID > 1 }, 7 * time.Minute},
		"level 0":            {func(f format.FileInfo) bool { return f.Level == 0 }, 7 * time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				store, db := newStore(t), newDB(10)
				var vanished atomic.Int64
				s := shipping.New(db, store, shipping.Options{
					Interval: time.Second,
					Policy:   shipping.Policy{Levels: []time.Duration{30 * time.Second, 5 * time.Minute}, Snapshots: 24 * time.Hour, KeepRaw: 5 * time.Minute, Keep: 24 * time.Hour},
					Events: func(e shipper.Event) {
						if e, ok := e.(shipper.Failed); ok && errors.Is(e.Err, shipper.ErrVanished) {
							vanished.Add(1)
						}
					},
				})
				defer s.Close()
				work := func(d time.Duration) {
					for end := time.Now().Add(d); time.Now().Before(end); time.Sleep(10 * time.Second) {
						db.commit(uint32(time.Now().Unix()%10 + 1))
						drain(t, s)
					}
				}
				work(61 * time.Minute)
				if vanished.Load() != 0 {
					t.Fatal("something has vanished before")
				}
				remove(t, store, test.gone)
				work(test.in)
				if !restorable(t, store, s.Tip().TXID) || vanished.Load() == 0 {
					t.Errorf("not mended after %s; said %d times", test.in, vanished.Load())
				}
				work(6 * time.Minute)
				said := vanished.Load()
				work(20 * time.Minute)
				if st := s.Status(); st.LevelsErr != nil || vanished.Load() != said || said > 2 {
					t.Errorf("said %d times, then %d; %v", said, vanished.Load(), st.LevelsErr)
				}
			})
		})
	}
}

// If the newest file with everything has vanished, the file before it replaces it as the
// base: the job does not list the replica for ever.
func TestVanishedBase(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, db := newStore(t), newDB(10)
		s := shipping.New(db, store, shipping.Options{
			Interval: time.Second,
			Policy:   shipping.Policy{Levels: []time.Duration{30 * time.Second, 5 * time.Minute}, Snapshots: 24 * time.Hour},
		})
		defer s.Close()
		work := func(minutes int) {
			for i := range minutes * 6 {
				db.commit(uint32(i%10 + 1))
				drain(t, s)
				time.Sleep(10 * time.Second)
			}
		}
		work(8)
		files, err := replica.All(t.Context(), store)
		if err != nil {
			t.Fatal(err)
		}
		var base format.FileInfo
		for _, f := range files.Infos() {
			if f.MinTXID == 1 && f.MaxTXID > base.MaxTXID {
				base = f
			}
		}
		remove(t, store, func(f format.FileInfo) bool { return f == base })
		before := s.Status().Requests.List
		work(20)
		if n := s.Status().Requests.List - before; n != 1 {
			t.Errorf("%d listings after %s has vanished", n, base)
		}
	})
}

// The shipper also notices vanished files of earlier runs, even if the policy has no
// snapshots.
func TestVanishedBetweenRuns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, db := newStore(t), newDB(10)
		run := func() *shipping.Shipper {
			s := shipping.New(db, store, shipping.Options{Policy: shipping.Policy{Levels: []time.Duration{30 * time.Second}}})
			for i := range uint32(10) {
				db.commit(i + 1)
				drain(t, s)
				time.Sleep(5 * time.Second)
			}
			return s
		}
		run().Close()
		remove(t, store, func(f format.FileInfo) bool { return f.MinTXID == 1 })
		time.Sleep(time.Hour)
		s := run()
		defer s.Close()
		if st := s.Status(); !restorable(t, store, st.Tip.TXID) || st.LevelsErr != nil {
			t.Errorf("%+v", st)
		}
	})
}

func remove(t *testing.T, store *storagetest.Memory, gone func(format.FileInfo) bool) {
	t.Helper()
	files, err := replica.All(t.Context(), store)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files.Infos() {
		if gone(f) {
			if err := store.Delete(t.Context(), store.Layout().Key(f.Level, f.MinTXID, f.MaxTXID)); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func restorable(t *testing.T, store *storagetest.Memory, txid format.TXID) bool {
	t.Helper()
	files, err := replica.All(context.Background(), store)
	if err != nil {
		t.Fatal(err)
	}
	points := files.Restorable()
	return len(points) > 0 && points[len(points)-1] == txid
}
