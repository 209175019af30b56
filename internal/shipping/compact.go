package shipping

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/RoaringBitmap/roaring/v2"

	"github.com/walvfs/walvfs/format"
	"github.com/walvfs/walvfs/shipper"
	"github.com/walvfs/walvfs/shipper/storage"
)

// background returns a new job that commits do not wait for.
func (s *Shipper) background(name string, longest time.Duration, try func(context.Context) error) *job {
	retries := newRetries(longest)
	return s.queue.add(&job{
		name: name,
		try:  try,
		failed: func(err error) time.Duration {
			if errors.Is(err, storage.ErrNoBucket) {
				s.lose()
				s.Look()
			}
			pause, tell := retries.failed(err)
			s.failedBeside(err)
			if tell {
				s.log.Log(s.ctx, retries.level(), "failed and will be tried again; commits do not wait for it", "job", name, "error", err, "retry_in", pause, "failing_for", retries.lasts())
			}
			return pause
		},
		done: func() { retries.succeeded() },
	})
}

// inTurn waits for the database's turn, then calls do with the time limit most.
func (s *Shipper) inTurn(ctx context.Context, most time.Duration, do func(context.Context) error) error {
	if s.turns.rest.Acquire(ctx, 1) != nil {
		return shipper.ErrClosed
	}
	defer s.turns.rest.Release(1)
	ctx, cancel := context.WithTimeout(ctx, most)
	defer cancel()
	return do(ctx)
}

// choreTime bounds a look at the replica and a deletion, so that neither hangs for ever.
const choreTime = 10 * time.Minute

func (v *level) name() string {
	if v.number == format.LevelSnapshot {
		return "snapshot"
	}
	return fmt.Sprintf("level %d", v.number)
}

// longestPause is the longest pause before the level's file is made or uploaded again.
func (v *level) longestPause() time.Duration {
	return max(longestPause, min(v.every/10, 10*time.Minute))
}

// makeLevel is the job of a level: the next cut makes a file of the pages that the level
// lacks, and makeLevel uploads it.
func (s *Shipper) makeLevel(ctx context.Context, v *level) error {
	if f := v.ready; f != nil && s.levels.isOld(f) {
		s.levels.uploaded(f, time.Now())
	}
	for v.ready == nil {
		file, err := s.fileFor(ctx, v)
		if errors.Is(err, errBusy) {
			// The job keeps running, so that callers that wait for due jobs wait for it.
			err = sleep(ctx, time.Second+rand.N(2*time.Second))
		} else if file == nil {
			return err
		}
		if err != nil {
			return err
		}
	}
	f := v.ready
	return s.inTurn(ctx, uploadTime(f.body.size), func(ctx context.Context) error { return s.uploadLevel(ctx, f) })
}

// sleep waits for d, or until the shipper is closed.
func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return shipper.ErrClosed
	}
}

// errBusy means that all encoders are in use.
var errBusy = errors.New("no encoder is free")

// fileFor waits for the file that a cut makes for a level. It returns nil if the level
// needs none.
func (s *Shipper) fileFor(ctx context.Context, v *level) (*levelFile, error) {
	answer := s.levels.ask(v)
	if answer == nil {
		return nil, nil
	}
	s.Look()
	select {
	case m := <-answer:
		return m.file, m.err
	case <-ctx.Done():
		return nil, shipper.ErrClosed
	}
}

// fromCut returns the levels that get their file from this cut, of the levels that ask
// for one. If there are none, it gives back the encoder that was taken for them.
func (s *Shipper) fromCut(info CutInfo, asking []*level) []*level {
	if !isLarge(info) {
		return asking
	}
	// The other levels start over after this file.
	snapshots := slices.DeleteFunc(slices.Clone(asking), func(v *level) bool { return v.number != format.LevelSnapshot })
	if len(snapshots) == 0 {
		s.leave(asking)
	}
	return snapshots
}

// leave gives back the encoder that was taken for levels.
func (s *Shipper) leave(due []*level) {
	if len(due) > 0 {
		encoders.Release(1)
	}
}

// cutLevels makes files of levels from a cut in the background: the level 0 file of the
// cut does not wait for them. It closes the cut and gives back the encoder that was taken
// for the levels.
func (s *Shipper) cutLevels(up *upload, due []*level) error {
	if len(due) == 0 {
		return up.endReading()
	}
	for _, v := range due {
		f := s.levels.take(v, up.TXID, up.Time)
		f.body = s.newSpool()
		up.levels = append(up.levels, f)
	}
	if s.queue.goes(func() { s.encodeLevels(up) }) {
		return nil
	}
	s.leave(due)
	return up.endReading()
}

// encodeLevels writes files of levels. It hands them over once the replica has the level
// 0 file with whose TXID they end.
func (s *Shipper) encodeLevels(up *upload) {
	errs := make([]error, len(up.levels))
	for i, f := range up.levels {
		read := nothing
		if i == len(up.levels)-1 {
			read = up.endReading
		}
		began, pages := time.Now(), f.pages(up.info)
		f.count = pages.GetCardinality()
		if _, errs[i] = s.encode(up.cut, f.body, s.levelHeader(up.info, f), pages, read); errs[i] == nil {
			s.emit(shipper.Encoded{Level: f.level.number, Pages: f.count, Bytes: f.body.size, Took: time.Since(began)})
		}
	}
	if err := up.endReading(); err != nil {
		s.log.Warn("closing a cut failed", "error", err)
	}
	encoders.Release(1)
	acked := <-up.outcome
	for i, f := range up.levels {
		switch {
		case !acked:
			f.body.Close()
		case errs[i] != nil:
			s.levels.giveBack(f, up.info.Pages, errs[i])
		default:
			s.levels.hand(f)
		}
	}
}

// pages returns the pages that a file holds at the boundary of a cut.
func (f *levelFile) pages(info CutInfo) *roaring.Bitmap {
	pages := roaring.New()
	if f.level.number == format.LevelSnapshot {
		pages.AddRange(1, uint64(info.Commit)+1)
	} else {
		pages = roaring.Or(f.taken, info.Pages)
		pages.RemoveRange(uint64(info.Commit)+1, 1<<32)
	}
	pages.Remove(format.LockPage(info.PageSize))
	return pages
}

// uploadLevel uploads the file of a level.
func (s *Shipper) uploadLevel(ctx context.Context, f *levelFile) error {
	l := s.levels
	if l.isOld(f) {
		l.uploaded(f, time.Now())
		return nil
	}
	key := s.store.Layout().Key(f.level.number, f.min, f.max)
	began := time.Now()
	err := s.store.Create(ctx, key, f.body, storage.Attrs{Time: f.time})
	if err != nil && !errors.Is(err, storage.ErrExists) { // a file of acknowledged TXIDs is good, whichever writer made it
		return err
	}
	if err == nil && l.isOld(f) { // the file went to the new bucket; a file that existed before belongs there
		if err := s.store.Delete(ctx, key); err != nil {
			return err
		}
	}
	l.uploaded(f, time.Now())
	s.log.Debug("compacted", "ltx_level", f.level.number, "from", f.min, "to", f.max, "bytes", f.body.size)
	s.mu.Lock()
	s.count(f.body.size)
	s.mu.Unlock()
	s.emit(shipper.Uploaded{Level: f.level.number, MinTXID: f.min, MaxTXID: f.max, Time: f.time, Pages: f.count, Bytes: f.body.size, Took: time.Since(began)})
	return nil
}
