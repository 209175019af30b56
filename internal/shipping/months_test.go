package shipping_test

import (
	"context"
	"encoding/binary"
	"flag"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/walvfs/walvfs/format"
	"github.com/walvfs/walvfs/internal/shipping"
	"github.com/walvfs/walvfs/shipper/replica"
	"github.com/walvfs/walvfs/shipper/restore"
	"github.com/walvfs/walvfs/shipper/storage/storagetest"
)

var (
	lifeSteps = flag.Int("life.steps", 40, "steps of each life in TestMonthsOfLife")
	lifeSeed  = flag.Uint64("life.seed", 0, "what TestMonthsOfLife decides by; 0 for another one each time")
)

// A life is a database with its replica over months of load, restarts and faults.
type life struct {
	t      *testing.T
	rng    *rand.Rand
	store  *storagetest.Memory
	db     *fakeDB
	s      *shipping.Shipper
	dir    string
	short  bool         // each commit is a run of its own
	faults atomic.Int64 // one of so many requests fails, 0 for none
	calls  atomic.Int64
	bad    []span // times at which requests failed

	idle time.Duration // age of the replica's tip when the shipper was opened
}

// Over months of load, restarts and faults, each point in time that the policy promises
// can be restored, the stored files stay bounded, and an idle database makes no requests.
func TestMonthsOfLife(t *testing.T) {
	seed := *lifeSeed
	if seed == 0 {
		seed = rand.Uint64()
	}
	t.Logf("again: go test ./shipper -run TestMonthsOfLife -life.steps %d -life.seed %d", *lifeSteps, seed)
	for _, test := range []struct {
		name   string
		large  int64 // size from which on whole databases are not compacted
		faulty bool
		short  bool // each commit is a run of its own, as of push
	}{
		{"calm", 1 << 20, false, false},
		{"calm and large", 1, false, false},
		{"faulty", 1 << 20, true, false},
		{"faulty and large", 1, true, false},
		{"short runs", 1 << 20, false, true},
		{"faulty short runs", 1 << 20, true, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			defer shipping.SetLarge(test.large)()
			l := &life{rng: rand.New(rand.NewPCG(seed, 0)), store: newStore(t), db: newDB(20), dir: t.TempDir(), short: test.short}
			synctest.Test(t, func(t *testing.T) {
				l.t = t
				l.live(test.faulty)
			})
			l.secondOpinion(t)
		})
	}
}

func (l *life) live(faulty bool) {
	var mu sync.Mutex
	rng := rand.New(rand.NewPCG(l.rng.Uint64(), 1))
	fail := func(context.Context, string, string) error {
		mu.Lock()
		defer mu.Unlock()
		l.calls.Add(1)
		if n := l.faults.Load(); n > 0 && rng.Int64N(n) == 0 {
			return errStore
		}
		return nil
	}
	l.store.Before, l.store.After = fail, fail
	l.open()
	begun := time.Now()
	for range *lifeSteps {
		l.step(faulty)
		l.faults.Store(0)
		l.db.readFaults.Store(0)
		drain(l.t, l.s)
		l.check(faulty)
		if l.rng.IntN(8) == 0 {
			l.checkKept()
		}
		if l.t.Failed() {
			break
		}
	}
	l.t.Logf("%s", time.Since(begun))
	l.rest()
	l.s.Close()
}

func (l *life) open() {
	if n := len(l.db.made); n > 0 {
		l.idle = time.Since(l.db.made[n-1].Time)
	}
	l.s = shipping.New(l.db, l.store, shipping.Options{Interval: time.Second, Policy: shipping.DefaultPolicy(), SpoolDir: l.dir})
	l.s.Wake()
}

// A span is a period of time.
type span struct {
	end  time.Time
	took time.Duration
}

func (l *life) step(faulty bool) {
	if faulty && l.rng.IntN(3) == 0 {
		began := time.Now()
		defer func() { l.bad = append(l.bad, span{time.Now(), time.Since(began)}) }()
		l.faults.Store(1 + l.rng.Int64N(4))
		l.db.readFaults.Store(l.rng.Int64N(2) * 50)
	}
	if l.rng.IntN(6) == 0 {
		if l.rng.IntN(2) == 0 {
			l.change() // not shipped before
		}
		l.s.Close()
		synctest.Wait()
		l.open()
	}
	if !l.short { // push has a time limit of its own
		l.db.slow.Store(l.rng.Int64N(2) * l.rng.Int64N(int64(2*time.Second)))
	}
	pause := []time.Duration{time.Second, 20 * time.Second, 2 * time.Minute, 20 * time.Minute, 5 * time.Hour, 30 * time.Hour}[l.rng.IntN(6)]
	for range 1 + l.rng.IntN(30) {
		l.change()
		time.Sleep(time.Duration(l.rng.Int64N(int64(pause))))
	}
}

// change makes a commit.
func (l *life) change() {
	switch l.rng.IntN(12) {
	case 0:
		l.db.resize(1 + l.rng.IntN(60))
	default:
		var pages []uint32
		for range l.rng.IntN(4) {
			pages = append(pages, 1+uint32(l.rng.IntN(l.db.size())))
		}
		l.db.commit(pages...)
	}
	l.s.Wake()
	if l.short {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		l.s.Finish(ctx) // a later run does the rest
		l.s.Close()
		synctest.Wait()
		l.s = shipping.New(l.db, l.store, shipping.Options{Interval: time.Second, Policy: shipping.DefaultPolicy(), SpoolDir: l.dir})
	}
}

// check restores the newest TXID, some other TXIDs of the replica, and some times.
func (l *life) check(faulty bool) {
	l.t.Helper()
	synctest.Wait() // retention would delete listed files
	files, err := replica.All(context.Background(), l.store)
	if err != nil {
		l.t.Fatal(err)
	}
	points := files.Restorable()
	if len(points) == 0 {
		l.t.Fatal("nothing can be restored")
	}
	newest := points[len(points)-1]
	if tip := l.s.Status().Tip.TXID; newest != tip {
		l.t.Errorf("TXID %s is the newest that can be restored, the tip is %s", newest, tip)
	}
	l.restore(newest)
	l.restore(points[l.rng.IntN(len(points))])
	keep := shipping.DefaultPolicy().Keep
	for _, ago := range []time.Duration{keep, time.Duration(l.rng.Int64N(int64(keep))), 0} {
		l.checkTime(files.Infos(), time.Now().Add(-ago), faulty)
	}
}

// checkKept fails if a file remains that no promised point in time needs. It first works
// for a while, so that every level gets a file and retention runs.
func (l *life) checkKept() {
	l.t.Helper()
	policy := shipping.DefaultPolicy()
	l.db.slow.Store(0)
	for range 30 {
		l.change()
		time.Sleep(4 * time.Minute)
	}
	drain(l.t, l.s)
	l.check(true)
	if st := l.s.Status(); st.Err != nil {
		l.t.Error(st.Err)
	}
	files, err := replica.All(context.Background(), l.store)
	if err != nil {
		l.t.Fatal(err)
	}
	// After a restart, a snapshot waits for the next commit. While one of a few requests
	// fails, the files cannot be learned, so no snapshot is made either.
	const window = 300 * time.Hour
	late := 2*time.Hour + l.longestPause(window)
	// The time before the start may not count: the clock may have jumped.
	late += l.idle
	for _, s := range l.bad {
		if time.Since(s.end) < window {
			late += s.took
		}
	}
	for _, f := range files {
		age, most := time.Since(l.db.timeOf(f.MaxTXID)), policy.Keep+policy.Snapshots+late
		if f.MaxTXID != l.s.Status().Tip.TXID && f.MinTXID != 1 && age > most {
			l.t.Errorf("%s is left after %s", f, age)
		}
	}
}

// longestPause returns the longest time without a file in a window before now.
func (l *life) longestPause(window time.Duration) (longest time.Duration) {
	for i, pos := range l.db.made[1:] {
		if time.Since(pos.Time) < window {
			longest = max(longest, pos.Time.Sub(l.db.made[i].Time))
		}
	}
	return longest
}

// checkTime restores a point in time.
func (l *life) checkTime(files []format.FileInfo, at time.Time, faulty bool) {
	l.t.Helper()
	if l.db.made[0].Time.After(at) {
		return // before the first file
	}
	txid, err := format.TXIDAt(files, at, func(f format.FileInfo) (time.Time, error) {
		return l.db.timeOf(f.MaxTXID), nil
	})
	if err != nil {
		l.t.Errorf("%s ago: %v", time.Since(at), err)
		return
	}
	// The lacking commits are not older than the time for a file of level 1, plus the
	// delay of a restart.
	if int(txid) < len(l.db.made) && !faulty {
		if lost := at.Sub(l.db.timeOf(txid + 1)); lost > 3*time.Minute {
			l.t.Errorf("%s ago: restored TXID %s, without one that was %s old", time.Since(at), txid, lost)
		}
	}
	l.restore(txid)
}

// restore restores a TXID and compares it with the database at that TXID.
func (l *life) restore(txid format.TXID) {
	l.t.Helper()
	path := filepath.Join(l.dir, "restored.db")
	if _, err := restore.Restore(context.Background(), l.store, path, restore.Options{TXID: txid, Force: true}); err != nil {
		l.t.Errorf("TXID %s: %v", txid, err)
		return
	}
	b, err := os.ReadFile(path)
	if err != nil {
		l.t.Fatal(err)
	}
	got := make([]uint64, len(b)/pageSize)
	for i := range got {
		got[i] = binary.BigEndian.Uint64(b[i*pageSize:])
	}
	if !slices.ContainsFunc(l.db.states[txid], func(want []uint64) bool { return slices.Equal(got, want) }) {
		l.t.Errorf("TXID %s restores to what it never was", txid)
	}
}

// rest checks that a database without commits makes no requests after its last deadline.
func (l *life) rest() {
	l.t.Helper()
	time.Sleep(50 * time.Hour)
	l.check(true)
	before := l.calls.Load()
	time.Sleep(1000 * time.Hour)
	if n := l.calls.Load() - before; n != 0 {
		l.t.Errorf("%d requests at rest", n)
	}
}
