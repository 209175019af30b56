package shipping

import (
	"context"
	"errors"
	"time"

	"github.com/walvfs/walvfs/shipper"
	"github.com/walvfs/walvfs/shipper/storage"
)

// rawJob returns the job of level 0. A run makes the replica equal to the database at the
// start of the run, however long the store takes to answer. If more remains, the next run
// is due, at the time that soonest returns.
func (s *Shipper) rawJob() *job {
	retries := newRetries(longestPause)
	return &job{
		name:    "level 0",
		try:     s.shipRaw,
		soonest: s.soonest,
		failed:  func(err error) time.Duration { return s.rawFailed(err, retries) },
		done:    func() { s.rawDone(retries) },
	}
}

// soonest returns when level 0 may run next: after the interval, or at once for waiting
// callers, when all of them have come back.
func (s *Shipper) soonest() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	var at time.Time
	if len(s.waiters) < s.crowd {
		at = s.ackedAt.Add(min(s.lastTook/10, mostGather))
	}
	if next := s.lastSent.Add(max(s.opts.Interval, s.spacing())); len(s.waiters) == 0 && s.compacting.Load() == 0 && s.readyLevelCut() == nil && next.After(at) {
		at = next
	}
	if now := time.Now(); at.Before(now) {
		return now
	}
	return at
}

// If another program resets the WAL again and again, each upload must hold the whole
// database. After a few such uploads in a row, further uploads are spaced out.
const (
	fewWholes    = 3
	wholeIsLarge = 1 << 20 // bytes from which on an upload counts
	firstSpacing = 10 * time.Second
	mostSpacing  = 5 * time.Minute
)

// noteWhole counts uploads of the whole database in a row. s.mu must be held.
func (s *Shipper) noteWhole(up *upload) int {
	switch {
	case !up.info.Whole:
		s.wholes = 0
	case up.body.size >= wholeIsLarge:
		s.wholes++
	}
	return s.wholes
}

// spacing is the least time between two uploads. s.mu must be held.
func (s *Shipper) spacing() time.Duration {
	if s.wholes <= fewWholes {
		return 0
	}
	return min(firstSpacing<<min(s.wholes-fewWholes-1, 8), mostSpacing)
}

// shipRaw waits for the database's turn among the databases of its bucket, then makes a
// step.
func (s *Shipper) shipRaw(ctx context.Context) error {
	s.noted.Store(false)
	s.mu.Lock()
	s.crowd = 0
	s.mu.Unlock()
	if err := s.turns.raw.Acquire(ctx, 1); err != nil {
		return shipper.ErrClosed
	}
	more, err := s.step(ctx)
	s.turns.raw.Release(1)
	switch {
	case err == nil && more:
		s.raw.due(time.Now())
	case errors.Is(err, storage.ErrNoBucket):
		s.lose()
	case errors.Is(err, shipper.ErrDiverged), errors.Is(err, shipper.ErrFenced), errors.Is(err, shipper.ErrNoFencing):
		s.halt(err)
	}
	return err
}

// step uploads the next file that the replica needs, and reports whether more files may
// be needed before the replica equals the database.
func (s *Shipper) step(ctx context.Context) (more bool, err error) {
	if s.lost.Swap(false) {
		s.settle()
		s.recognized = false
		s.mu.Lock()
		s.acked = Commit{}
		s.mu.Unlock()
	}
	if !s.recognized {
		if err := s.recognize(ctx); err != nil {
			return false, err
		}
	}
	if s.pending == nil {
		if s.pending, err = s.cut(); err != nil || s.pending == nil {
			return false, err
		}
		return s.upload(ctx)
	}
	// Retry the failed upload first, unchanged. Later commits are in the next cut.
	_, err = s.upload(ctx)
	return true, err
}

// lose notes that the bucket is gone, and with it everything that the replica had.
func (s *Shipper) lose() {
	s.lost.Store(true)
	s.levels.forget()
	s.lag.note()
}

// impatience is the longest pause after a failure while callers wait.
const impatience = 2 * time.Second

// rawFailed notes an error and returns how long to wait before the next try. Waiting
// callers shorten the pause, except after an error that only an operator can fix.
func (s *Shipper) rawFailed(err error, retries *retries) time.Duration {
	pause, tell := retries.failed(err)
	if s.someoneWaits() && !storage.Refused(err) {
		pause = min(pause, impatience)
	}
	s.dropLevelCut() // other databases need the encoder, and the time of the next cut is unknown
	s.become(shipper.Retrying, err)
	if tell {
		s.log.Log(s.ctx, retries.level(), "replication failed and will be tried again", "error", err, "retry_in", pause, "failing_for", retries.lasts())
	}
	return pause
}

// rawDone notes that the store works.
func (s *Shipper) rawDone(retries *retries) {
	s.become(shipper.Streaming, nil)
	if lasted := retries.succeeded(); lasted > 0 {
		s.log.Info("replication resumed", "after", lasted)
	}
}
