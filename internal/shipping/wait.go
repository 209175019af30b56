package shipping

import (
	"context"
	"errors"
	"time"

	"github.com/walvfs/walvfs/format"
	"github.com/walvfs/walvfs/shipper/storage"
)

// A Commit is what somebody waits for. The zero value is all that is committed now.
type Commit struct {
	// By is the first cut that is known to hold it, as [Shipper.NextCut] told when
	// it was committed, 0 if that is not known.
	By uint64

	// Salt and End are a place in the WAL, in bytes, at which it ends, or a later
	// transaction does. They tell that an earlier cut holds it, too. The zero value
	// is no place that is known.
	Salt format.Salt
	End  int64
}

// end returns where the last transaction that a cut holds ends.
func (i CutInfo) end() Commit { return Commit{Salt: i.Salt, End: i.WALOffset + i.WALSize} }

// within reports whether a transaction ends at a place or before it, in one life of
// the WAL. Of two lives, only time tells.
func (c Commit) within(end Commit) bool {
	return !c.Salt.IsZero() && c.Salt == end.Salt && c.End <= end.End
}

// A waiter waits until the replica has a cut with a commit.
type waiter struct {
	commit Commit
	done   chan error
}

// NextCut returns the number of the next cut: it holds what is committed by now. It
// does not block.
func (s *Shipper) NextCut() uint64 { return s.cuts.Load() + 1 }

// Wait returns when the replica has a transaction that is committed, and all before
// it: in what is uploaded just now if that holds it, and else in the next upload,
// which does not wait for the interval. It fails when that cannot be: the shipper has
// halted or is closed, or ctx ends first, with what ails replication.
//
// Those who wait share uploads. They do not shorten the pauses after a failure to
// less than a moment.
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

// Drain ships what is committed by now, without waiting for the interval or a pause
// after a failure, and returns when the replica has it. It fails as [Shipper.Wait]
// does.
func (s *Shipper) Drain(ctx context.Context) error {
	w, err := s.enter(Commit{})
	if w == nil {
		return err
	}
	s.raw.hurry(time.Now())
	return s.await(ctx, w)
}

// Finish is Drain for a database that is being closed: level 0 comes before all else. A
// run that was too short for its levels' times then sees to what is due by those of
// earlier runs, as far as ctx lets it.
func (s *Shipper) Finish(ctx context.Context) error {
	s.finishing.Add(1)
	err := s.Drain(ctx)
	s.finishing.Add(-1)
	if err == nil && s.IsShort() {
		_ = s.Compact(ctx) // what is left is for the next run
	}
	return err
}

// IsShort reports whether a run has been too short for the times of its levels, and what
// earlier ones left is due by its age.
func (s *Shipper) IsShort() bool { return s.levels.isShort(time.Now()) }

// Compact returns when what is due is done beside level 0: files of levels, snapshots,
// and deleting what is not kept any more. What fails is left to be tried again.
func (s *Shipper) Compact(ctx context.Context) error {
	s.compacting.Add(1) // levels need cuts, which do not wait for the interval
	defer s.compacting.Add(-1)
	s.raw.due(s.soonest())
	return s.queue.settled(ctx, s.raw)
}

// enter adds a waiter. It returns none if there is nothing to wait for, or no use.
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

// mostGather is the longest time for which those who were answered are let commit again
// before the next cut, if they were several: else the first of them would have it for
// itself, and the others would have to wait for two uploads. They have a tenth of an
// upload's time, and this at most.
const mostGather = 50 * time.Millisecond

func (s *Shipper) someoneWaits() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.waiters) > 0
}

// answer answers those who wait for a cut, one before it, or a place within its end.
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
