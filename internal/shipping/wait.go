package shipping

import (
	"context"
	"errors"
	"time"

	"github.com/walvfs/walvfs/format"
	"github.com/walvfs/walvfs/shipper/storage"
)

// A Commit is a commit that a caller waits for. The zero value stands for all commits
// until now.
type Commit struct {
	// By is the first cut that is known to hold the commit, as [Shipper.NextCut] returned
	// it when the transaction was committed, 0 if unknown.
	By uint64

	// Salt and End are a place in the WAL, in bytes, at which the commit or a later
	// transaction ends. They show whether an earlier cut holds it, too. Zero values mean
	// that the place is unknown.
	Salt format.Salt
	End  int64
}

// end returns where the last transaction that a cut holds ends.
func (i CutInfo) end() Commit { return Commit{Salt: i.Salt, End: i.WALOffset + i.WALSize} }

// within reports whether a transaction ends at a place or before it, in one epoch of the
// WAL. Places in two epochs cannot be compared.
func (c Commit) within(end Commit) bool {
	return !c.Salt.IsZero() && c.Salt == end.Salt && c.End <= end.End
}

// A waiter waits until the replica has a cut with a commit.
type waiter struct {
	commit Commit
	done   chan error
}

// NextCut returns the number of the next cut, which holds all transactions that are
// committed by now. It does not block.
func (s *Shipper) NextCut() uint64 { return s.cuts.Load() + 1 }

// Wait returns when the replica has a committed transaction, and all transactions before
// it: with the upload under way if that holds it, otherwise with the next upload, which
// does not wait for the interval. It fails if the shipper has halted or is closed, or if
// ctx ends first; its error then includes the error of replication.
//
// Waiting callers share uploads. They shorten the pauses after a failure to no less than
// impatience.
func (s *Shipper) Wait(ctx context.Context, c Commit) error {
	w, err := s.enter(c)
	if w == nil {
		return err
	}
	s.mu.Lock()
	patient := storage.Refused(s.status.Err)
	s.mu.Unlock()
	if !patient {
		s.raw.shorten(time.Now().Add(impatience))
	}
	return s.await(ctx, w)
}

// Drain ships all commits until now, without waiting for the interval or a pause after a
// failure, and returns when the replica has them. It fails as [Shipper.Wait] does.
func (s *Shipper) Drain(ctx context.Context) error {
	w, err := s.enter(Commit{})
	if w == nil {
		return err
	}
	s.raw.hurry(time.Now())
	return s.await(ctx, w)
}

// Finish is Drain for a database that is being closed: level 0 comes before all else. If
// the run was too short for the times of its levels, Finish then does the work that
// earlier runs left due, until ctx ends.
func (s *Shipper) Finish(ctx context.Context) error {
	s.finishing.Add(1)
	err := s.Drain(ctx)
	s.finishing.Add(-1)
	if err == nil && s.IsShort() {
		_ = s.Compact(ctx) // the next run continues
	}
	return err
}

// IsShort reports whether a run has been too short for the times of its levels, and files
// that earlier runs left are due by their age.
func (s *Shipper) IsShort() bool { return s.levels.isShort(time.Now()) }

// Compact returns when all due work besides level 0 is done: files of levels, snapshots,
// and the deletion of files that are no longer kept. Failed work is retried later.
func (s *Shipper) Compact(ctx context.Context) error {
	s.compacting.Add(1) // levels need cuts, which do not wait for the interval
	defer s.compacting.Add(-1)
	s.raw.due(s.soonest())
	return s.queue.settled(ctx, s.raw)
}

// enter adds a waiter. It returns none if the replica has the commit, or if waiting is of
// no use.
func (s *Shipper) enter(c Commit) (*waiter, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.over != nil {
		return nil, s.over
	}
	if !s.lost.Load() && (c.within(s.acked) || c.By > 0 && c.By <= s.acked.By) {
		return nil, nil
	}
	if c.By == 0 {
		c.By = s.NextCut()
	}
	w := &waiter{commit: c, done: make(chan error, 1)}
	s.waiters[w] = struct{}{}
	return w, nil
}

func (s *Shipper) await(ctx context.Context, w *waiter) error {
	s.raw.due(s.soonest())
	select {
	case err := <-w.done:
		return err
	case <-ctx.Done():
	}
	s.mu.Lock()
	delete(s.waiters, w)
	err := s.status.Err
	s.mu.Unlock()
	select {
	case err := <-w.done: // just then
		return err
	default:
		return errors.Join(context.Cause(ctx), err)
	}
}

// mostGather is the longest time before the next cut in which several answered callers
// may commit again. Without it, the first of them would have the cut for itself, and the
// others would wait for two uploads. The callers have a tenth of an upload's
// time, and this at most.
const mostGather = 50 * time.Millisecond

func (s *Shipper) someoneWaits() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.waiters) > 0
}

// answer answers the callers that wait for this cut, an earlier cut, or a place within
// its end.
func (s *Shipper) answer(cut Commit, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	crowd, answered := len(s.waiters), 0
	for w := range s.waiters {
		if w.commit.By <= cut.By || w.commit.within(cut) {
			delete(s.waiters, w)
			w.done <- err
			answered++
		}
	}
	if answered > 1 {
		s.crowd = crowd
	}
}
