package shipping

import (
	"errors"
	"fmt"
	"time"

	"github.com/walvfs/walvfs/shipper"
)

// Status returns the state of replication now.
func (s *Shipper) Status() shipper.Status {
	s.mu.Lock()
	st := s.status
	if s.sending != nil {
		st.Sending = shipper.Transfer{Bytes: s.sending.sent.Load(), Total: s.sending.size}
	}
	s.mu.Unlock()
	st.Lag, st.Requests = s.Lag(), s.store.requests()
	st.LagCommits, st.LagPages, st.LagBytes = s.source.Behind()
	st.Jobs = s.queue.status()
	errs := []error{s.levels.hasVanished()}
	for _, j := range st.Jobs[1:] {
		if j.Err != nil && j.State != shipper.JobStopped {
			errs = append(errs, fmt.Errorf("%s: %w", j.Name, j.Err))
		}
	}
	st.LevelsErr = errors.Join(errs...)
	return st
}

// Tip returns the newest file that the replica is known to have.
func (s *Shipper) Tip() shipper.Position {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.status.Tip
}

// Lag returns the age of the oldest commit that is not acknowledged, 0 if all are. It
// never waits for slow operations.
func (s *Shipper) Lag() time.Duration { return s.lag.age() }

// Fenced reports whether shipping has ended because another writer has, or may have, the
// replica. It does not block.
func (s *Shipper) Fenced() bool { return s.fenced.Load() }

func (s *Shipper) setTip(pos shipper.Position) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.status.Tip = pos
}

func (s *Shipper) acknowledged(up *upload, took time.Duration) {
	s.mu.Lock()
	s.ackedAt, s.lastTook = time.Now(), took
	s.status.Tip = up.Position
	wholes := s.noteWhole(up)
	s.count(up.body.size)
	s.mu.Unlock()
	s.lag.acknowledged()
	if wholes == fewWholes+1 {
		s.log.Warn("the whole database was uploaded several times in a row; the next such uploads come up to 5 minutes apart, unless a caller waits for one (if another program writes to the database, open the database through walvfs there too, or group its transactions)")
	}
	e := shipper.Uploaded{
		MinTXID: up.TXID, MaxTXID: up.TXID, Time: up.Time,
		Pages: up.info.Pages.GetCardinality(), Bytes: up.body.size, Took: took,
		Lag: time.Duration(sinceStart() - up.oldest),
	}
	s.log.Debug("shipped", "txid", up.TXID, "pages", e.Pages, "bytes", e.Bytes, "lag", e.Lag)
	s.emit(e)
	s.reached(up.holds)
}

// reached answers the callers that wait for a cut which the replica has. It first updates
// the state, which they may read next.
func (s *Shipper) reached(cut Commit) {
	s.mu.Lock()
	if cut.End == 0 { // no new commits: the end stays
		cut.Salt, cut.End = s.acked.Salt, s.acked.End
	}
	s.acked = cut
	s.mu.Unlock()
	s.become(shipper.Streaming, nil)
	s.answer(cut, nil)
}

// count notes an upload. s.mu must be held.
func (s *Shipper) count(bytes int64) {
	s.status.Uploads++
	s.status.Bytes += bytes
}

// failedBeside notes a failure that commits do not wait for.
func (s *Shipper) failedBeside(err error) {
	s.mu.Lock()
	s.status.Failures++
	s.mu.Unlock()
	s.emit(shipper.Failed{Kind: shipper.ErrorKind(err), Err: err})
}

// become changes the state.
func (s *Shipper) become(state shipper.State, err error) {
	s.mu.Lock()
	was := s.status.State
	s.status.State, s.status.Err = state, err
	if err != nil {
		s.status.Failures++
	}
	s.mu.Unlock()
	if err != nil {
		s.emit(shipper.Failed{Kind: shipper.ErrorKind(err), Err: err})
	}
	if was != state {
		s.emit(shipper.StateChanged{From: was, To: state, Err: err})
	}
}
func (s *Shipper) emit(e shipper.Event) {
	if s.opts.Events != nil {
		s.opts.Events(e)
	}
}
