package restore

import (
	"context"
	"errors"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/walvfs/walvfs/format"
	"github.com/walvfs/walvfs/shipper/storage"
)

// removeUnderWay lets retention do something when an object is first opened after the
// plan was made: the object is then gone.
func removeUnderWay(s *source, opts *Options, key string, retention func()) {
	var planned atomic.Bool
	told := opts.Progress
	opts.Progress = func(p Progress) {
		planned.Store(true)
		if told != nil {
			told(p)
		}
	}
	var once sync.Once
	s.store.open = func(_ context.Context, k string, _ int64) (err error) {
		if k == key && planned.Load() {
			once.Do(func() {
				s.store.change(retention)
				err = storage.ErrNotExist
			})
		}
		return err
	}
}

// Whatever file of the plan retention removes during a restore, if other files lead to
// the same TXID, the database is the same.
func TestFileRemoved(t *testing.T) {
	for _, c := range []struct {
		name    string
		key     func(s *source) string
		replace func(s *source)
	}{
		{"compacted", func(s *source) string { return planKeys(s)[2] }, func(s *source) {
			s.ship(1, 3, 5)
			for txid := format.TXID(3); txid <= 5; txid++ {
				s.drop(0, txid, txid)
			}
		}},
		{"last one", func(s *source) string { return planKeys(s)[3] }, func(s *source) {
			s.ship(1, 3, 5)
			s.drop(0, 5, 5)
		}},
		{"snapshot", func(s *source) string { return planKeys(s)[0] }, func(s *source) {
			s.ship(format.LevelSnapshot, 1, 4)
			s.drop(format.LevelSnapshot, 1, 2)
		}},
		{"snapshot of this TXID", func(s *source) string { return planKeys(s)[1] }, func(s *source) {
			s.ship(format.LevelSnapshot, 1, 5)
			s.drop(0, 3, 3)
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := smallReplica(t)
			var log strings.Builder
			var told []Progress
			opts := Options{Logger: textLogger(&log), Progress: func(p Progress) { told = append(told, p) }}
			removeUnderWay(s, &opts, c.key(s), func() { c.replace(s) })
			r := restoreAs(t, s, opts, s.images[smallTip])
			if r.TXID != smallTip || !strings.Contains(log.String(), "planning again") {
				t.Errorf("result is %+v, log is %q", r, log.String())
			}
			checkProgress(t, told, 2)
		})
	}
}

// If the newest TXID is compacted during a restore that requested the newest, it restores
// the TXID that is newest then.
func TestNewestRemoved(t *testing.T) {
	s := smallReplica(t)
	var opts Options
	removeUnderWay(s, &opts, planKeys(s)[3], func() {
		s.commit(4, 2)
		s.ship(1, 3, 6)
		for txid := format.TXID(3); txid <= 6; txid++ {
			s.drop(0, txid, txid)
		}
	})
	target := filepath.Join(t.TempDir(), "app.db")
	r, err := Restore(t.Context(), s.store, target, opts)
	if err != nil || r.TXID != 6 {
		t.Fatalf("restored TXID %s, %v", r.TXID, err)
	}
	checkFile(t, target, s.images[6])
}

// Restore does not replace a TXID that can no longer be restored by another.
func TestTargetRemoved(t *testing.T) {
	for name, opts := range map[string]Options{"txid": {TXID: smallTip - 1}, "time": {Timestamp: newSource(t).time(smallTip - 1)}} {
		t.Run(name, func(t *testing.T) {
			s := smallReplica(t)
			key := planKeys(s)[2]
			removeUnderWay(s, &opts, key, func() {
				s.ship(1, 3, 5)
				for txid := format.TXID(3); txid <= 5; txid++ {
					s.drop(0, txid, txid)
				}
			})
			_, err := Restore(t.Context(), s.store, t.TempDir()+"/app.db", opts)
			if e, ok := errors.AsType[*format.NotReachableError](err); !ok || e.Before != 2 || e.After != 5 {
				t.Fatalf("error is %v", err)
			}
			for _, want := range []string{".ltx was removed while TXID 0000000000000004", "no file ends at TXID", "keep them longer"} {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("error is %q, want %q in it", err, want)
				}
			}
		})
	}
}

// A replica that is removed during a restore did exist: a caller must not start with an
// empty database instead.
func TestReplicaRemoved(t *testing.T) {
	s := smallReplica(t)
	var opts Options
	removeUnderWay(s, &opts, planKeys(s)[1], func() { clear(s.store.objects) })
	_, err := Restore(t.Context(), s.store, t.TempDir()+"/app.db", opts)
	if err == nil || errors.Is(err, ErrNoReplica) || !strings.Contains(err.Error(), "the LTX files are gone") {
		t.Errorf("error is %v", err)
	}
}

// If retention is always faster, Restore fails after a number of plans.
func TestPlansAreBounded(t *testing.T) {
	s := smallReplica(t)
	opened := 0
	s.store.open = func(_ context.Context, key string, _ int64) error {
		if !strings.HasSuffix(key, "-0000000000000005.ltx") {
			return nil
		}
		opened++
		s.store.change(func() {
			delete(s.store.objects, key)
			s.ship(1+opened%8, 3, 5)
		})
		return storage.ErrNotExist
	}
	_, err := Restore(t.Context(), s.store, t.TempDir()+"/app.db", Options{})
	if !errors.Is(err, storage.ErrNotExist) || opened < maxPlans {
		t.Errorf("after %d requests the error is %v", opened, err)
	}
}

// checkProgress checks that a progress only grows, except for that many restarts, and
// ends at its totals.
func checkProgress(t *testing.T, told []Progress, beginnings int) {
	t.Helper()
	for i, p := range told {
		if p.Files == 0 && p.Bytes == 0 {
			beginnings--
		} else if i == 0 || p.Bytes < told[i-1].Bytes || p.Files < told[i-1].Files || p.TotalBytes != told[i-1].TotalBytes {
			t.Errorf("progress goes from %+v to %+v", told[max(0, i-1)], p)
		}
	}
	last := told[len(told)-1]
	if last.Files != last.TotalFiles || last.Bytes != last.TotalBytes || beginnings != 0 {
		t.Errorf("the progress ends at %+v, with %d beginnings too few", last, beginnings)
	}
}
