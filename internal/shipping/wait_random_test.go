package shipping_test

import (
	"context"
	"encoding/binary"
	"errors"
	"flag"
	"io"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/walvfs/walvfs/format"
	"github.com/walvfs/walvfs/internal/shipping"
	"github.com/walvfs/walvfs/shipper"
	"github.com/walvfs/walvfs/shipper/storage"
)

var (
	waitRounds = flag.Int("wait.rounds", 60, "rounds of TestWaiters")
	waitSeed   = flag.Uint64("wait.seed", 0, "what TestWaiters decides by; 0 for another one each time")
)

// Every waiting caller gets an answer, and never before the replica has its commit,
// whatever the store does and whichever callers give up, until the store answers, another
// writer has the replica, or the shipper is closed.
func TestWaiters(t *testing.T) {
	seed := *waitSeed
	if seed == 0 {
		seed = rand.Uint64()
	}
	t.Logf("again: go test ./shipper -run TestWaiters -wait.rounds %d -wait.seed %d", *waitRounds, seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	told := 0
	for range *waitRounds {
		q := &queue{rng: rand.New(rand.NewPCG(rng.Uint64(), 0))}
		synctest.Test(t, q.round)
		told += int(q.told.Load())
		if t.Failed() {
			return
		}
	}
	t.Logf("%d were told that the replica has it", told)
	if told < 20**waitRounds {
		t.Error("that is few")
	}
}

// A queue is a shipper with many waiting callers.
type queue struct {
	rng    *rand.Rand
	db     *fakeDB
	store  *ledger
	s      *shipping.Shipper
	told   atomic.Int64
	fenced atomic.Bool
	closed atomic.Bool
}

func (q *queue) round(t *testing.T) {
	q.db, q.store = newDB(5), &ledger{Store: newStore(t), rng: rand.New(rand.NewPCG(q.rng.Uint64(), 1))}
	q.db.slowCut.Store(q.rng.Int64N(2) * q.rng.Int64N(int64(50*time.Millisecond)))
	interval := []time.Duration{0, 50 * time.Millisecond, time.Second, time.Hour}[q.rng.IntN(4)]
	q.s = shipping.New(q.db, q.store, shipping.Options{Interval: interval, Policy: shipping.DefaultPolicy()})
	q.store.faults.Store(q.rng.Int64N(2) * (2 + q.rng.Int64N(8)))
	var wg sync.WaitGroup
	for range 2 + q.rng.IntN(20) {
		rng := rand.New(rand.NewPCG(q.rng.Uint64(), 2))
		wg.Go(func() {
			for range 12 {
				q.act(t, rng)
			}
		})
	}
	time.Sleep(time.Duration(q.rng.Int64N(int64(20 * time.Second))))
	switch q.rng.IntN(4) {
	case 0:
		q.fence(t)
	case 1:
		q.closed.Store(true)
		q.s.Close()
	}
	q.store.faults.Store(0)
	wg.Wait() // no caller waits for ever: that would be a deadlock
	if n := q.s.Waiters(); n != 0 {
		t.Errorf("%d still wait", n)
	}
	if !q.fenced.Load() && !q.closed.Load() {
		drain(t, q.s)
		requireSame(t, q.store, q.db)
	}
	q.s.Close()
}

// act makes one of the callers do something.
func (q *queue) act(t *testing.T, rng *rand.Rand) {
	ms := func(n int) time.Duration { return time.Duration(rng.IntN(n)) * time.Millisecond }
	time.Sleep(ms(1500))
	if rng.IntN(10) == 0 {
		q.db.resetWAL()
	}
	n, place := q.db.commitAt(1, 2+uint32(rng.IntN(4)))
	q.s.Wake()
	time.Sleep(ms(3) * ms(200) / time.Millisecond)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	switch rng.IntN(6) {
	case 0:
		cancel()
	case 1, 2:
		time.AfterFunc(ms(3000), cancel)
	}
	wait := func() error { return q.s.Wait(ctx, place) }
	switch rng.IntN(6) {
	case 0:
		return // this action does not wait
	case 1:
		wait = func() error { return q.s.Wait(ctx, shipping.Commit{}) }
	case 2:
		wait = func() error { return q.s.Drain(ctx) }
	case 3:
		wait = func() error { return q.s.Finish(ctx) }
	}
	q.judge(t, n, ctx, wait())
}

// judge checks an answer to a caller that has committed n.
func (q *queue) judge(t *testing.T, n uint64, ctx context.Context, err error) {
	switch held := q.store.held.Load(); {
	case err == nil && held < n:
		t.Errorf("whoever waits for commit %d was told so when the replica ends at commit %d", n, held)
	case err == nil:
		q.told.Add(1)
	case errors.Is(err, shipper.ErrFenced) && q.fenced.Load():
	case errors.Is(err, shipper.ErrClosed) && q.closed.Load():
	case errors.Is(err, context.Canceled) && ctx.Err() != nil:
	default:
		t.Errorf("whoever waits for commit %d was told %v", n, err)
	}
}

// fence lets another writer get the next TXID.
func (q *queue) fence(t *testing.T) {
	q.fenced.Store(true)
	for err := shipper.ErrFenced; errors.Is(err, shipper.ErrFenced); {
		other := shipping.New(newDB(5), q.store.Store, shipping.Options{})
		err = other.Drain(t.Context())
		other.Close()
	}
}

// A ledger is a store that fails, and tracks the newest commit that it holds: each commit
// writes page 1.
type ledger struct {
	storage.Store
	held   atomic.Uint64
	faults atomic.Int64 // one of so many requests fails, 0 for none

	mu  sync.Mutex
	rng *rand.Rand
}

// fault delays a request, and returns the error with which it must fail, if any.
func (l *ledger) fault(ctx context.Context) error {
	l.mu.Lock()
	delay, n := time.Duration(l.rng.IntN(400))*time.Millisecond, 1+l.faults.Load()
	fails, how := n > 1 && l.rng.Int64N(n) == 0, l.rng.IntN(20)
	l.mu.Unlock()
	if how%2 == 0 {
		time.Sleep(delay)
	}
	switch {
	case !fails:
		return ctx.Err()
	case how == 0:
		return storage.ErrPermission
	case how == 1: // no answer for as long as drivers wait
		select {
		case <-ctx.Done():
		case <-time.After(time.Minute):
		}
	}
	return errStore
}

func (l *ledger) Create(ctx context.Context, key string, body storage.Body, attrs storage.Attrs) error {
	if err := l.fault(ctx); err != nil {
		return err
	}
	if err := l.Store.Create(ctx, key, body, attrs); err != nil {
		return err
	}
	if f, ok := l.Layout().Parse(key); ok && f.Level == format.LevelRaw {
		format.Decode(io.NewSectionReader(body, 0, body.Size()), func(_ format.LTXHeader, pgno uint32, page []byte) error {
			if pgno == 1 {
				l.held.Store(binary.BigEndian.Uint64(page))
			}
			return nil
		})
	}
	return l.fault(ctx) // the answer may be lost
}

func (l *ledger) Open(ctx context.Context, key string, offset, length int64) (io.ReadCloser, storage.Attrs, error) {
	if err := l.fault(ctx); err != nil {
		return nil, storage.Attrs{}, err
	}
	return l.Store.Open(ctx, key, offset, length)
}
