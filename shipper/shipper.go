// Package shipper turns the commits of a database into files in an object store.
//
// The bucket is a linear log. A level 0 file holds exactly one TXID, so its key
// is known before it is written, and it is created with put-if-absent: of two
// writers one gets the next TXID and the other is fenced.
//
//	commit ─Wake─▶ cut ─▶ spool ─▶ Create TXID n ─▶ acknowledge ─▶ cut …
//	                                 │ exists                ▲
//	                                 ▼                       │ ours
//	                               read it back ─────────────┤
//	                                                         ▼ foreign
//	                                                       fenced
//
// One upload is in flight for a database. Commits that arrive meanwhile go into
// the next cut, so the batch grows with the load and the number of uploads does
// not. The first commit after a quiet time ships at once, then at most one
// upload an interval. A database without commits has no goroutine, no timer and
// no request, once its levels are up to date.
//
// Files of higher levels, of the pages that changed since the level's last one, are
// cut together with a level 0 file, at its boundary. They are uploaded beside what
// goes on, after that file is acknowledged, and followed by what retention deletes:
//
//	level 0   1 2 3 4 5 6 7 8 9 …       each commit, or batch of commits
//	level 1       1…3     4…6           every 30 s
//	level 2               1…6           every 5 min
//	level 9                 snapshot    every 24 h
//
// Those who wait for the replica share uploads, and the databases of a bucket take
// turns.
//
// An upload whose outcome is unknown is settled before anything is cut again:
// the same bytes are sent under the same key until the store says that they, or
// somebody else's, are there.
package shipper

import (
	"context"
	"errors"
	"log/slog"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cenkalti/backoff/v5"
	"golang.org/x/sync/semaphore"

	"github.com/walvfs/walvfs/shipper/storage"
)

// Options configure a [Shipper]. Zero values are usable.
type Options struct {
	NodeID   uint64        // of this copy of the database, written into each file
	Interval time.Duration // at most one upload in this time
	SpoolDir string        // for files too large for memory; "" is the system's
	Unfenced bool          // go on with a store that does not tell two writers apart
	Policy   Policy        // of higher levels and of retention
	Logger   *slog.Logger
	Events   func(Event) // is told what happens, if not nil
}

// A Shipper ships one database to one replica. Its methods are safe for
// concurrent use.
type Shipper struct {
	source Source
	store  *meter
	opts   Options
	log    *slog.Logger

	ctx    context.Context // ends with Close
	cancel context.CancelFunc

	work      atomic.Int32  // idle, running or again
	finishing atomic.Int32  // callers of Finish
	lost      atomic.Bool   // the bucket was gone: if it comes back, nothing is known of it
	oldest    atomic.Int64  // sinceStart of the oldest commit that no cut took, 0 for none
	cuts      atomic.Uint64 // that have begun
	inFlight  atomic.Int64  // sinceStart of the oldest commit in the pending upload, 0 for none
	fenced    atomic.Bool   // halted, because the replica is somebody else's
	urgent    chan struct{} // ends a pause after a failure
	nudge     chan struct{} // somebody has come to wait
	slots     *semaphore.Weighted

	mu      sync.Mutex
	waiters map[*waiter]struct{}
	acked   Commit      // the newest cut that the replica has, and its end
	crowd   int         // who waited when it was answered, 0 for one or nobody
	ackedAt time.Time   // when it was acknowledged
	timer   *time.Timer // to the next thing that is due, nil if there never was one
	status  Status

	// Owned by the one run under way.
	recognized bool
	tip        Position
	pending    *upload
	lastSent   time.Time
	lastTook   time.Duration // the newest upload
	newestAt   time.Time     // when nobody else was known to be ahead
	backoff    *backoff.ExponentialBackOff
	failing    failing

	levels  *levels
	tenders sync.WaitGroup // who make, upload or delete files of levels
}

// States of Shipper.work.
const (
	idle    = iota // no run is under way
	running        // a run is under way
	again          // and there was a commit since it began
)

// New returns a shipper. It does nothing until [Shipper.Wake] is called.
func New(source Source, store storage.Store, opts Options) *Shipper {
	opts.Policy.KeepRaw = max(opts.Policy.KeepRaw, 2*lateAfter)
	s := &Shipper{
		source:  source,
		store:   &meter{Store: store},
		opts:    opts,
		log:     opts.Logger,
		urgent:  make(chan struct{}, 1),
		nudge:   make(chan struct{}, 1),
		slots:   slotsOf(store),
		waiters: map[*waiter]struct{}{},
		backoff: newBackOff(),
		levels:  newLevels(opts.Policy),
	}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	s.status.State, s.status.Unfenced = Starting, opts.Unfenced
	return s
}

func newBackOff() *backoff.ExponentialBackOff {
	return &backoff.ExponentialBackOff{
		InitialInterval:     200 * time.Millisecond,
		RandomizationFactor: 0.5,
		Multiplier:          2,
		MaxInterval:         30 * time.Second,
	}
}

var start = time.Now()

// sinceStart is a monotonic clock that fits an atomic, never 0.
func sinceStart() int64 { return int64(time.Since(start)) | 1 }

// Wake tells that something may have been committed. It does not block, and
// allocates only when it begins a run.
func (s *Shipper) Wake() {
	if s.oldest.Load() == 0 {
		s.oldest.CompareAndSwap(0, sinceStart())
	}
	s.start()
}

// Look is Wake without anything that is known to be committed.
func (s *Shipper) Look() { s.start() }

// start begins a run, or has the one under way look again.
func (s *Shipper) start() {
	for {
		switch s.work.Load() {
		case again:
			return
		case running:
			if s.work.CompareAndSwap(running, again) {
				return
			}
		default:
			if s.work.CompareAndSwap(idle, running) {
				go s.run()
				return
			}
		}
	}
}

// Close stops shipping at once: what the replica has not acknowledged stays
// unshipped. It returns when nothing is under way any more.
func (s *Shipper) Close() error {
	s.cancel()
	s.Drain(context.Background()) // a last round, which ends what is pending
	s.schedule()
	s.levels.close()
	s.tenders.Wait()
	s.drop()
	return nil
}

// run ships until nothing is left. There is at most one.
func (s *Shipper) run() {
	for {
		s.work.Store(running)
		s.round()
		if s.work.CompareAndSwap(running, idle) {
			s.schedule()
			return
		}
	}
}

// round makes the replica equal to the database as it is when the round begins,
// however long the store takes to answer.
func (s *Shipper) round() {
	if s.someoneWaits() {
		quiet(s.urgent)
	}
	err, failed := s.stopped(), false
	for err == nil {
		if !failed { // the interval is for uploads
			s.pause(time.Until(s.lastSent.Add(s.opts.Interval)))
		}
		var more bool
		more, err = s.turn()
		failed = err != nil
		switch {
		case err == nil:
			s.succeeded()
			if !more {
				return
			}
		case s.ctx.Err() != nil:
			err = ErrClosed
		case errors.Is(err, ErrDiverged), errors.Is(err, ErrFenced), errors.Is(err, ErrNoFencing):
			s.halt(err)
		default:
			if errors.Is(err, storage.ErrNoBucket) {
				s.lost.Store(true)
				s.levels.forget()
			}
			s.backOff(s.failed(err))
			err = s.stopped()
		}
	}
	s.settle()
	s.answer(Commit{By: math.MaxUint64}, err)
}

// ErrClosed: the shipper was closed before the replica had everything.
var ErrClosed = errors.New("shipping was stopped")

// pause waits for the interval, unless somebody waits for the replica.
func (s *Shipper) pause(d time.Duration) {
	s.gather()
	quiet(s.nudge)
	if d <= 0 || s.someoneWaits() {
		return
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-s.nudge:
	case <-s.ctx.Done():
	}
}

// impatience is the longest pause after a failure while somebody waits.
const impatience = 2 * time.Second

// backOff waits after a failure, and less long if somebody waits or comes to.
func (s *Shipper) backOff(d time.Duration) {
	end := time.Now().Add(d)
	t := time.NewTimer(d)
	defer t.Stop()
	for {
		if s.someoneWaits() && !s.failing.denied && time.Until(end) > impatience {
			end = time.Now().Add(impatience)
			t.Reset(impatience)
		}
		select {
		case <-t.C:
			return
		case <-s.urgent:
			return
		case <-s.ctx.Done():
			return
		case <-s.nudge:
		}
	}
}

// turn is a step, when it is this database's turn among those of its bucket.
func (s *Shipper) turn() (more bool, err error) {
	if err := s.slots.Acquire(s.ctx, 1); err != nil {
		return false, ErrClosed
	}
	defer s.slots.Release(1)
	return s.step()
}

// step does the next thing that the replica needs, and reports whether there
// may be more to do before it equals the database.
func (s *Shipper) step() (more bool, err error) {
	if s.lost.Swap(false) {
		s.settle()
		s.recognized = false
		s.mu.Lock()
		s.acked = Commit{}
		s.mu.Unlock()
	}
	if !s.recognized {
		if err := s.recognize(s.ctx); err != nil {
			return false, err
		}
	}
	if s.pending == nil {
		if s.pending, err = s.cut(); err != nil || s.pending == nil {
			return false, err
		}
		return s.upload(s.ctx)
	}
	// What failed before goes first, as it was; what was committed since is in
	// the cut after it.
	_, err = s.upload(s.ctx)
	return true, err
}
