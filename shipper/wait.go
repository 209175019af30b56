package shipper

import (
	"context"
	"errors"
	"time"

	"github.com/walvfs/walvfs/format"
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
	w := s.enter(c)
	if w == nil {
		return nil
	}
	s.start()
	return s.await(ctx, w)
}

// Drain ships what is committed by now, without waiting for the interval or a pause
// after a failure, and returns when the replica has it. It fails as [Shipper.Wait]
// does.
func (s *Shipper) Drain(ctx context.Context) error {
	w := s.enter(Commit{})
	signal(s.urgent)
	s.start()
	return s.await(ctx, w)
}

// Finish is Drain for a database that is being closed: level 0 comes before all else.
func (s *Shipper) Finish(ctx context.Context) error {
	s.finishing.Add(1)
	defer s.finishing.Add(-1)
	return s.Drain(ctx)
}

// enter adds a waiter. It returns nil if there is nothing to wait for.
func (s *Shipper) enter(c Commit) *waiter {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.lost.Load() && (c.within(s.acked) || c.By > 0 && c.By <= s.acked.By) {
		return nil
	}
	if c.By == 0 {
		c.By = s.NextCut()
	}
	w := &waiter{commit: c, done: make(chan error, 1)}
	s.waiters[w] = struct{}{}
	signal(s.nudge)
	return w
}

func (s *Shipper) await(ctx context.Context, w *waiter) error {
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

// mostGather is the longest time that a crowd is waited for.
const mostGather = 50 * time.Millisecond

// gather lets those who were answered commit again before the next cut, if they were
// several: else the first of them would have it for itself, and the others would have
// to wait for two uploads. They have a tenth of an upload's time.
func (s *Shipper) gather() {
	s.mu.Lock()
	crowd, end := s.crowd, s.ackedAt.Add(min(s.lastTook/10, mostGather))
	s.crowd = 0
	s.mu.Unlock()
	if crowd == 0 {
		return
	}
	t := time.NewTimer(time.Until(end))
	defer t.Stop()
	for {
		s.mu.Lock()
		all := len(s.waiters) >= crowd
		s.mu.Unlock()
		if all {
			return
		}
		select {
		case <-t.C:
			return
		case <-s.ctx.Done():
			return
		case <-s.nudge:
		}
	}
}

// signal has its receiver look once more.
func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// quiet takes back a signal that nobody has received.
func quiet(c chan struct{}) {
	select {
	case <-c:
	default:
	}
}

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
