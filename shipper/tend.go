package shipper

import (
	"context"
	"errors"
	"time"

	"github.com/cenkalti/backoff/v5"

	"github.com/walvfs/walvfs/shipper/storage"
)

// tend sees to the levels in the background: they are not in the way of commits. It
// takes files that were cut, whose TXIDs are acknowledged.
func (s *Shipper) tend(files []*levelFile) {
	l := s.levels
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ready = append(l.ready, files...)
	if l.tending || len(l.ready) == 0 && !l.hasChores(time.Now()) || l.closed {
		return
	}
	l.tending = true
	s.tenders.Go(func() {
		for s.chore() {
		}
		s.schedule()
	})
}

// close has nobody begin to tend any more.
func (l *levels) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
}

// hasChores reports whether there is something to learn or to delete. l.mu must be
// held.
func (l *levels) hasChores(now time.Time) bool {
	due := func(t time.Time) bool { return !t.IsZero() && !now.Before(t) }
	return due(l.learnAt) || due(l.retainAt)
}

// chore does the next thing there is, until it is done, and reports false if there
// was none.
func (s *Shipper) chore() bool {
	l, now := s.levels, time.Now()
	l.mu.Lock()
	var do func(context.Context) error
	switch {
	case s.ctx.Err() != nil:
	case len(l.ready) > 0:
		f := l.ready[0]
		do = func(context.Context) error { return s.uploadLevel(f) }
	case !l.learnAt.IsZero() && !now.Before(l.learnAt):
		do = s.learn
	case !l.retainAt.IsZero() && !now.Before(l.retainAt):
		do = s.retain
	}
	if do == nil {
		l.tending = false
		l.mu.Unlock()
		return false
	}
	l.mu.Unlock()
	s.persist(do)
	return true
}

// choreTime bounds a look at the replica, or a deletion: nothing may hang for ever.
const choreTime = 10 * time.Minute

// persist tries until it works, or the shipper stops.
func (s *Shipper) persist(do func(context.Context) error) {
	told := false
	_, err := backoff.Retry(s.ctx, func() (struct{}, error) {
		if s.stopped() != nil {
			return struct{}{}, backoff.Permanent(ErrClosed)
		}
		if s.slots.Acquire(s.ctx, 1) != nil {
			return struct{}{}, backoff.Permanent(ErrClosed)
		}
		defer s.slots.Release(1)
		ctx, cancel := context.WithTimeout(s.ctx, choreTime)
		defer cancel()
		err := do(ctx)
		if errors.Is(err, storage.ErrNoBucket) {
			s.levels.forget()
			s.lost.Store(true)
			s.start()
		}
		return struct{}{}, err
	},
		backoff.WithBackOff(newBackOff()),
		backoff.WithMaxElapsedTime(0),
		backoff.WithNotify(func(err error, wait time.Duration) {
			s.levelsFail(err)
			if !told && s.ctx.Err() == nil {
				told = true
				s.log.Warn("a file of a higher level, or what it replaces, waits for the store", "error", err, "retry_in", wait)
			}
		}))
	if err != nil {
		s.drop()
		return
	}
	s.levelsFail(nil)
}

// drop gives up what is not done when the shipper stops.
func (s *Shipper) drop() {
	l := s.levels
	l.mu.Lock()
	ready := l.ready
	l.ready, l.learnAt, l.retainAt, l.known = nil, time.Time{}, time.Time{}, true
	l.mu.Unlock()
	for _, f := range ready {
		f.body.Close()
	}
}

// uploadLevel uploads the first of the files that are ready.
func (s *Shipper) uploadLevel(f *levelFile) error {
	l := s.levels
	if l.isOld(f) {
		l.done(f, time.Now())
		return nil
	}
	ctx, cancel := context.WithTimeout(s.ctx, uploadTime(f.body.size))
	defer cancel()
	key := s.store.Layout().Key(f.level.number, f.min, f.max)
	began := time.Now()
	err := s.store.Create(ctx, key, f.body, storage.Attrs{Time: f.time})
	if err != nil && !errors.Is(err, storage.ErrExists) { // of TXIDs that are acknowledged, whoever made it
		return err
	}
	if l.isOld(f) { // it came into another bucket
		if err := s.store.Delete(ctx, key); err != nil {
			return err
		}
	}
	l.done(f, time.Now())
	s.log.Debug("compacted", "ltx_level", f.level.number, "from", f.min, "to", f.max, "bytes", f.body.size)
	s.mu.Lock()
	s.count(f.body.size)
	s.mu.Unlock()
	s.emit(Uploaded{Level: f.level.number, MinTXID: f.min, MaxTXID: f.max, Time: f.time, Pages: f.count, Bytes: f.body.size, Took: time.Since(began)})
	return nil
}

// poke has the shipper look for what is due, without a commit.
func (s *Shipper) poke() {
	s.tend(nil)
	s.start()
}

// restFor is how long nothing is due before the source may forget what it can have
// again.
const restFor = time.Minute

// schedule sees to it that somebody looks when the next thing is due.
func (s *Shipper) schedule() {
	s.mu.Lock()
	defer s.mu.Unlock()
	next := s.levels.next()
	switch {
	case next.IsZero() || s.ctx.Err() != nil || s.status.State == Halted:
		if s.timer != nil {
			s.timer.Stop()
		}
	case s.timer == nil:
		s.timer = time.AfterFunc(time.Until(next), s.poke)
	default:
		s.timer.Reset(time.Until(next))
	}
	if next.IsZero() || time.Until(next) > restFor {
		s.source.Rest()
	}
}
