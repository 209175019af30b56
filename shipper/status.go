package shipper

import (
	"errors"
	"log/slog"
	"time"

	"github.com/walvfs/walvfs/shipper/storage"
)

// State says what a shipper is doing.
type State string

// The states of a shipper.
const (
	Starting  State = "starting"  // the replica's tip is not known yet
	Streaming State = "streaming" // commits reach the replica
	Retrying  State = "retrying"  // the store does not answer as it should
	Halted    State = "halted"    // nothing is shipped any more; Err says why
)

// Status is what a shipper knows of its replica.
type Status struct {
	State State
	Tip   Position // the newest acknowledged file
	Err   error    // why it is retrying or halted

	Lag        time.Duration // age of the oldest commit that is not acknowledged, 0 if all are
	LagCommits int64         // that are not acknowledged, of those since the database was opened
	LagPages   int64         // that are dirty: the next file holds them, about
	LagBytes   int64         // of these pages

	// Since the database was opened:
	Uploads  int64 // acknowledged files
	Bytes    int64 // in them
	Requests Requests
	Failures int64 // of requests and cuts

	// LevelsErr is why a file of a higher level, or a deletion, waits; nil if none
	// does. Commits reach the replica all the same.
	LevelsErr error

	Unfenced bool // another writer would not be noticed, by the user's choice
}

// stopped returns the reason for which nothing is shipped any more, if any.
func (s *Shipper) stopped() error {
	if s.ctx.Err() != nil {
		return ErrClosed
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.status.State == Halted {
		return s.status.Err
	}
	return nil
}

// Status reports the state of replication now.
func (s *Shipper) Status() Status {
	s.mu.Lock()
	st := s.status
	s.mu.Unlock()
	st.Lag, st.Requests = s.Lag(), s.store.requests()
	st.LagCommits, st.LagPages, st.LagBytes = s.source.Behind()
	return st
}

// Lag returns the age of the oldest commit that is not acknowledged, 0 if all are. It
// does not block.
func (s *Shipper) Lag() time.Duration {
	if t := s.inFlight.Load(); t != 0 {
		return time.Duration(sinceStart() - t)
	}
	if t := s.oldest.Load(); t != 0 {
		return time.Duration(sinceStart() - t)
	}
	return 0
}

// Fenced reports whether nothing is shipped any more because the replica is, or may
// be, somebody else's. It does not block.
func (s *Shipper) Fenced() bool { return s.fenced.Load() }

func (s *Shipper) setTip(pos Position) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.status.Tip = pos
}

func (s *Shipper) acknowledged(up *upload) {
	s.mu.Lock()
	s.ackedAt = time.Now()
	s.status.Tip = up.Position
	s.count(up.body.size)
	s.inFlight.Store(0)
	s.mu.Unlock()
	e := Uploaded{
		MinTXID: up.TXID, MaxTXID: up.TXID, Time: up.Time,
		Pages: up.info.Pages.GetCardinality(), Bytes: up.body.size, Took: time.Since(s.lastSent),
	}
	if up.oldest != 0 {
		e.Lag = time.Duration(sinceStart() - up.oldest)
	}
	s.log.Debug("shipped", "txid", up.TXID, "pages", e.Pages, "bytes", e.Bytes, "lag", e.Lag)
	s.emit(e)
	s.reached(up.holds)
}

// reached answers those who wait for what the replica has. What they ask next is to
// say so, too.
func (s *Shipper) reached(cut Commit) {
	s.mu.Lock()
	if cut.End == 0 { // there was nothing new, so that the end stays where it is
		cut.Salt, cut.End = s.acked.Salt, s.acked.End
	}
	s.acked = cut
	s.mu.Unlock()
	s.become(Streaming, nil)
	s.answer(cut, nil)
}

// count notes an upload. s.mu must be held.
func (s *Shipper) count(bytes int64) {
	s.status.Uploads++
	s.status.Bytes += bytes
}

// levelsFail notes why the higher levels wait, nil if they do not.
func (s *Shipper) levelsFail(err error) {
	s.mu.Lock()
	s.status.LevelsErr = err
	if err != nil {
		s.status.Failures++
	}
	s.mu.Unlock()
	if err != nil {
		s.emit(Failed{ErrorKind(err), err})
	}
}

// become changes the state.
func (s *Shipper) become(state State, err error) {
	s.mu.Lock()
	was := s.status.State
	s.status.State, s.status.Err = state, err
	if err != nil {
		s.status.Failures++
	}
	s.mu.Unlock()
	if err != nil {
		s.emit(Failed{ErrorKind(err), err})
	}
	if was != state {
		s.emit(StateChanged{From: was, To: state, Err: err})
	}
}

// halt stops shipping for good: only a person can tell what is right.
func (s *Shipper) halt(err error) {
	s.fenced.Store(errors.Is(err, ErrFenced) || errors.Is(err, ErrDiverged))
	s.become(Halted, err)
	s.log.Error("replication halted: the application goes on, the replica does not", "error", err)
}

// slowRetry is the least time between tries that only a person can make succeed.
const slowRetry = 10 * time.Second

// failed notes an error and returns how long to wait before the next try. The log
// hears of the first failure, of one of another kind, and then ever more rarely.
func (s *Shipper) failed(err error) time.Duration {
	wait := s.backoff.NextBackOff()
	level, denied := slog.LevelWarn, refused(err)
	if denied {
		wait, level = max(wait, slowRetry), slog.LevelError
	}
	s.become(Retrying, err)
	now := time.Now()
	f := &s.failing
	switch {
	case f.since.IsZero():
		*f = failing{since: now, pause: time.Minute}
	case denied != f.denied:
	case now.Before(f.next):
		return wait
	default:
		f.pause *= 2
	}
	f.denied, f.next = denied, now.Add(f.pause)
	s.log.Log(s.ctx, level, "replication failed and will be tried again", "error", err, "retry_in", wait, "failing_for", now.Sub(f.since).Round(time.Millisecond))
	return wait
}

// refused reports whether the store says that this will not work: a permission that
// is missing on the local disk is none of its.
func refused(err error) bool {
	_, ours := errors.AsType[*storage.Error](err)
	return ours && (errors.Is(err, storage.ErrPermission) || errors.Is(err, storage.ErrNoBucket))
}

// failing is what the log was told of an outage.
type failing struct {
	since  time.Time // zero if there is none
	denied bool      // only a person can end it
	next   time.Time // when the log hears of it again
	pause  time.Duration
}

// succeeded notes that the store answers as it should.
func (s *Shipper) succeeded() {
	s.backoff.Reset()
	s.become(Streaming, nil)
	if !s.failing.since.IsZero() {
		s.log.Info("replication goes on", "after", time.Since(s.failing.since).Round(time.Millisecond))
		s.failing = failing{}
	}
}
