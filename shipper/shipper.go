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
// no request.
//
// An upload whose outcome is unknown is settled before anything is cut again:
// the same bytes are sent under the same key until the store says that they, or
// somebody else's, are there.
package shipper

import (
	"context"
	"crypto/rand"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cenkalti/backoff/v5"

	"github.com/walvfs/walvfs/format"
	"github.com/walvfs/walvfs/shipper/storage"
)

// Options configure a [Shipper]. Zero values are usable.
type Options struct {
	NodeID   uint64        // of this copy of the database, written into each file
	Interval time.Duration // at most one upload in this time
	SpoolDir string        // for files too large for memory; "" is the system's
	Logger   *slog.Logger
	Shipped  func(Shipped) // called after each acknowledgement, if not nil
}

// Shipped tells of one acknowledged level 0 file.
type Shipped struct {
	Position
	Pages uint64        // in the file
	Bytes int64         // of the file
	Lag   time.Duration // from the oldest commit in it to the acknowledgement
}

// A Shipper ships one database to one replica. Its methods are safe for
// concurrent use.
type Shipper struct {
	source Source
	store  storage.Store
	opts   Options
	log    *slog.Logger

	ctx    context.Context // ends with Close
	cancel context.CancelFunc

	work   atomic.Int32  // idle, running or again
	oldest atomic.Int64  // sinceStart of the oldest commit that no cut took, 0 for none
	urgent chan struct{} // do not wait for the interval or a backoff

	mu       sync.Mutex
	waiters  []chan error // of Drain, answered when what is committed by now is acknowledged
	status   Status
	inFlight int64 // sinceStart of the oldest commit in the pending upload, 0 for none

	// Owned by the one run under way.
	recognized bool
	tip        Position
	pending    *upload
	lastSent   time.Time
	backoff    *backoff.ExponentialBackOff
	failing    time.Time // since when, zero if not
}

// States of Shipper.work.
const (
	idle    = iota // no run is under way
	running        // a run is under way
	again          // and there was a commit since it began
)

// New returns a shipper. It does nothing until [Shipper.Wake] is called.
func New(source Source, store storage.Store, opts Options) *Shipper {
	s := &Shipper{
		source: source,
		store:  store,
		opts:   opts,
		log:    opts.Logger,
		urgent: make(chan struct{}, 1),
		backoff: &backoff.ExponentialBackOff{
			InitialInterval:     200 * time.Millisecond,
			RandomizationFactor: 0.5,
			Multiplier:          2,
			MaxInterval:         30 * time.Second,
		},
	}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	s.status.State = Starting
	return s
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

// Drain ships what is committed by now, without waiting for the interval, and
// returns when the replica has it. It returns an error when that cannot be:
// the shipper has halted or is closed, or ctx ends first.
func (s *Shipper) Drain(ctx context.Context) error {
	settled := make(chan error, 1)
	s.mu.Lock()
	s.waiters = append(s.waiters, settled)
	s.mu.Unlock()
	s.hurry()
	s.Wake()
	select {
	case err := <-settled:
		return err
	case <-ctx.Done():
		if err := s.Status().Err; err != nil {
			return errors.Join(context.Cause(ctx), err)
		}
		return context.Cause(ctx)
	}
}

// hurry ends a sleep.
func (s *Shipper) hurry() {
	select {
	case s.urgent <- struct{}{}:
	default:
	}
}

// calm takes back a hurry that no sleep has heard of.
func (s *Shipper) calm() {
	select {
	case <-s.urgent:
	default:
	}
}

// Close stops shipping at once: what the replica has not acknowledged stays
// unshipped. It returns when nothing is under way any more.
func (s *Shipper) Close() error {
	s.cancel()
	s.Drain(context.Background()) // a last round, which ends what is pending
	return nil
}

// run ships until nothing is left. There is at most one.
func (s *Shipper) run() {
	for {
		s.work.Store(running)
		s.round()
		if s.work.CompareAndSwap(running, idle) {
			return
		}
	}
}

// round makes the replica equal to the database as it is when the round begins,
// however long the store takes to answer, and answers those who wait for it.
func (s *Shipper) round() {
	s.mu.Lock()
	waiters := s.waiters
	s.waiters = nil
	s.mu.Unlock()
	urgent := len(waiters) > 0
	if urgent {
		s.calm()
	}

	err := s.stopped()
	for err == nil {
		if !urgent {
			s.sleep(time.Until(s.lastSent.Add(s.opts.Interval)))
		}
		var more bool
		more, err = s.step()
		switch {
		case err == nil:
			s.succeeded()
			if !more {
				s.answer(waiters, nil)
				return
			}
		case s.ctx.Err() != nil:
			err = ErrClosed
		case errors.Is(err, ErrDiverged), errors.Is(err, ErrFenced), errors.Is(err, ErrNoFencing):
			s.halt(err)
		default:
			s.sleep(s.failed(err))
			err = s.stopped()
		}
	}
	s.settle()
	s.answer(waiters, err)
}

// ErrClosed: the shipper was closed before the replica had everything.
var ErrClosed = errors.New("shipping was stopped")

func (s *Shipper) answer(waiters []chan error, err error) {
	for _, w := range waiters {
		w <- err
	}
}

// sleep returns early when somebody is in a hurry or the shipper is closed.
func (s *Shipper) sleep(d time.Duration) {
	if d <= 0 {
		return
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-s.urgent:
	case <-s.ctx.Done():
	}
}

// step does the next thing that the replica needs, and reports whether there
// may be more to do before it equals the database.
func (s *Shipper) step() (more bool, err error) {
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

// recognize finds the replica's tip and lets the source decide what it means.
func (s *Shipper) recognize(ctx context.Context) error {
	if err := checkFencing(ctx, s.store); err != nil {
		return err
	}
	tip, err := FindTip(ctx, s.store, s.source.Last())
	if err != nil {
		return err
	}
	if err := s.source.Recognize(ctx, tip); err != nil {
		return err
	}
	if tip != nil {
		s.tip = Position{tip.MaxTXID, tip.Checksum, tip.Time}
		s.setTip(s.tip)
	}
	s.recognized = true
	return nil
}

// An upload is a file on its way to the replica.
type upload struct {
	Position
	cut     Cut
	key     string
	writeID string
	header  format.LTXHeader
	body    *spool
	pages   uint64
	oldest  int64 // sinceStart of the oldest commit in it
}

// cut takes the next file from the source, nil if there is nothing to ship.
func (s *Shipper) cut() (_ *upload, err error) {
	oldest := s.oldest.Swap(0)
	cut, err := s.source.Cut(s.ctx)
	if err == nil && cut == nil {
		return nil, nil
	}
	if err != nil {
		s.putBack(oldest)
		return nil, err
	}

	up := &upload{
		Position: Position{TXID: s.tip.TXID + 1, Time: s.timestamp()},
		cut:      cut,
		writeID:  rand.Text(),
		body:     &spool{dir: s.opts.SpoolDir},
		pages:    cut.Info().Pages.GetCardinality(),
		oldest:   oldest,
	}
	up.key = s.store.Layout().Key(format.LevelRaw, up.TXID, up.TXID)
	err = s.encode(up)
	if cerr := cut.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = s.source.Intend(up.Position)
	}
	if err != nil {
		s.abandon(up)
		return nil, err
	}
	s.setInFlight(up.oldest)
	return up, nil
}

func (s *Shipper) abandon(up *upload) {
	up.cut.Abandon()
	up.body.Close()
	s.putBack(up.oldest)
}

func (s *Shipper) putBack(oldest int64) {
	for oldest != 0 {
		cur := s.oldest.Load()
		if cur != 0 && cur <= oldest || s.oldest.CompareAndSwap(cur, oldest) {
			return
		}
	}
}

// settle gives up the upload under way, when the shipper will not go on.
func (s *Shipper) settle() {
	if s.pending != nil {
		s.abandon(s.pending)
		s.pending = nil
		s.setInFlight(0)
	}
}

// timestamp returns the time of the next file: now, but later than the tip's,
// so that times order as TXIDs do even when the clock goes back.
func (s *Shipper) timestamp() time.Time {
	now := time.Now().Truncate(time.Millisecond)
	if next := s.tip.Time.Add(time.Millisecond); now.Before(next) {
		return next
	}
	return now
}

// upload sends the pending file and acknowledges it once the replica has it. It
// reports whether the replica needs another one at once.
func (s *Shipper) upload(ctx context.Context) (more bool, err error) {
	up := s.pending
	// Nothing may hang for ever; a slow link may take its time.
	ctx, cancel := context.WithTimeout(ctx, time.Minute+time.Duration(up.body.size>>16)*time.Second)
	defer cancel()

	s.lastSent = time.Now()
	err = s.store.Create(ctx, up.key, up.body, storage.Attrs{Time: up.Time, WriteID: up.writeID})
	if errors.Is(err, storage.ErrExists) {
		err = s.readBack(ctx, up)
	}
	if errors.Is(err, errEarlierUpload) {
		// It is the tip now. What it holds is not known here, so that the next
		// file holds this one's pages again.
		s.settle()
		s.recognized = false
		return true, nil
	}
	if err != nil {
		return false, err
	}

	s.pending, s.tip = nil, up.Position
	up.cut.Acknowledge(up.Position)
	s.acknowledged(up)
	if err := up.body.Close(); err != nil {
		s.log.Warn("cannot remove a temporary file", "error", err)
	}
	return false, nil
}
