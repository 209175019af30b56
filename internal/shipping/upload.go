package shipping

import (
	"context"
	"crypto/rand"
	"errors"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/walvfs/walvfs/format"
	"github.com/walvfs/walvfs/shipper"
	"github.com/walvfs/walvfs/shipper/storage"
)

// recognize finds the replica's tip and lets the source decide what it means.
func (s *Shipper) recognize(ctx context.Context) error {
	asked := time.Now() // comparing the tip with the database may take long
	tip, err := s.replica.Tip(ctx, s.source.Last())
	if tip == nil && err == nil {
		err = s.replica.Begins(ctx)
	}
	if err != nil {
		return err
	}
	if err := s.source.Recognize(ctx, tip); err != nil {
		return err
	}
	s.newestAt = asked
	if tip != nil {
		s.tip = shipper.Position{TXID: tip.MaxTXID, Checksum: tip.Checksum, Time: tip.Time}
	} else {
		s.tip = shipper.Position{Time: s.tip.Time}
	}
	s.setTip(s.tip)
	s.warnOfFuture()
	s.levels.begin(s.tip.TXID, s.tip.Time)
	s.recognized = true
	return nil
}

// An upload is a level 0 file on its way to the replica, and the files of higher
// levels that end with it.
type upload struct {
	shipper.Position
	cut     Cut
	info    CutInfo
	key     string
	writeID string
	header  format.LTXHeader
	body    *spool
	holds   Commit       // the replica has all commits up to this, once it has the upload
	oldest  int64        // sinceStart of the oldest commit in it
	levels  []*levelFile // cut with it
	outcome chan bool    // tells them whether the replica has the upload
	read    bool         // the cut is closed

	disk errgroup.Group // makes the pages read and the intent durable
}

// endReading closes the cut.
func (up *upload) endReading() error {
	if up.read {
		return nil
	}
	up.read = true
	return up.cut.Close()
}

func nothing() error { return nil }

// cut takes the next file from the source, nil if there is nothing to ship.
func (s *Shipper) cut() (_ *upload, err error) {
	var due []*level
	var extra *Extra
	if s.finishing.Load() == 0 {
		due, extra = s.askingLevels()
	}
	by := s.cuts.Add(1)
	s.lag.take()
	cut, err := s.source.Cut(s.ctx, extra)
	if cut == nil || err != nil {
		s.leave(due)
	}
	if err == nil && cut == nil {
		s.lag.acknowledged()
		s.reached(Commit{By: by})
		return nil, nil
	}
	if err != nil {
		s.lag.putBack()
		return nil, err
	}

	up := &upload{
		Position: shipper.Position{TXID: s.tip.TXID + 1, Time: s.timestamp()},
		cut:      cut,
		info:     cut.Info(),
		writeID:  rand.Text(),
		body:     s.newSpool(),
		outcome:  make(chan bool, 1),
	}
	up.holds = up.info.end()
	up.holds.By = by
	due = s.fromCut(up.info, due)
	if up.info.Same {
		up.Position = s.tip
		cut.Abandon()
		up.outcome <- true
		s.lag.acknowledged()
		s.reached(Commit{By: by})
		return nil, s.cutLevels(up, due)
	}
	up.oldest = s.lag.found()
	up.key = s.store.Layout().Key(format.LevelRaw, up.TXID, up.TXID)
	end := up.endReading
	if len(due) > 0 {
		end = nothing // the levels read the cut, too; every half a minute at most
	}
	if err = s.encodeRaw(up, end); err != nil {
		s.leave(due) // the next cut makes their files
		due = nil
	}
	if cerr := s.cutLevels(up, due); err == nil {
		err = cerr
	}
	if err != nil {
		s.abandon(up)
		return nil, err
	}
	return up, nil
}

func (s *Shipper) newSpool() *spool { return &spool{dir: s.opts.SpoolDir} }

func (s *Shipper) abandon(up *upload) {
	up.disk.Wait() // the result does not matter
	up.cut.Abandon()
	s.levels.abandon(up.levels)
	up.outcome <- false
	up.body.Close()
	s.lag.putBack()
}

// uploadTime returns how long an upload of size bytes may take on a slow link.
func uploadTime(size int64) time.Duration {
	return time.Minute + time.Duration(size>>16)*time.Second
}

// settle gives up the upload under way, which the shipper will not continue.
func (s *Shipper) settle() {
	s.dropLevelCut()
	if s.pending != nil {
		s.abandon(s.pending)
		s.pending = nil
	}
}

// clockSlack is how far a clock may go back without disturbing the order of file times.
const clockSlack = time.Minute

// timestamp returns the time of the next file: now, but a little later than the tip's,
// so that times order as TXIDs do even when the clock goes back. It does not follow a
// clock that was far ahead when the tip was made.
func (s *Shipper) timestamp() time.Time {
	now := time.Now().Truncate(time.Millisecond)
	if next := s.tip.Time.Add(time.Millisecond); now.Before(next) && next.Sub(now) <= clockSlack {
		return next
	}
	return now
}

// warnOfFuture logs a warning if the tip's time is in the future: the clock of its writer
// was ahead, or ours is behind.
func (s *Shipper) warnOfFuture() {
	if ahead := time.Until(s.tip.Time); ahead > clockSlack {
		s.log.Warn("the newest file of the replica is dated in the future (its writer's clock was ahead, or this machine's clock is behind); new files carry this machine's time",
			"txid", s.tip.TXID, "time", s.tip.Time, "ahead", ahead.Round(time.Second))
	}
}

// upload sends the pending file and acknowledges it once the replica has it. It reports
// whether the replica needs another file at once.
func (s *Shipper) upload(ctx context.Context) (more bool, err error) {
	up := s.pending
	// No upload may hang for ever.
	ctx, cancel := context.WithTimeout(ctx, uploadTime(up.body.size))
	defer cancel()

	if !s.opts.Unfenced {
		if err := storage.CheckFencing(ctx, s.store); err != nil {
			return false, err
		}
	}
	if s.isLate() {
		if err := s.mayCreate(ctx, up); err != nil {
			return false, err
		}
	}
	sent := time.Now()
	s.mu.Lock()
	s.lastSent, s.sending = sent, up.body
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.sending = nil
	}()
	up.body.sent.Store(0)
	err = s.store.Create(ctx, up.key, up.body, storage.Attrs{Time: up.Time, WriteID: up.writeID, Ready: up.disk.Wait})
	if derr := up.disk.Wait(); derr != nil {
		// The pages that were read may be gone from the disk: the next cut reads the
		// disk's content.
		s.settle()
		return false, derr
	}
	if errors.Is(err, storage.ErrExists) {
		err = s.readBack(ctx, up)
	}
	if errors.Is(err, errEarlierUpload) {
		// The earlier upload is the tip now. Its content is unknown here, so the next
		// file holds this upload's pages again.
		s.settle()
		s.recognized = false
		return true, nil
	}
	if err == nil && s.isLate() {
		err = s.checkLate(ctx, up)
	}
	if err == nil && up.info.Rebase {
		err = s.rebase(ctx, up)
	}
	if err == nil {
		s.uploaded(up, sent)
	}
	return false, err
}

// uploaded notes that the replica has a file, whose last attempt began at a time.
func (s *Shipper) uploaded(up *upload, sent time.Time) {
	s.pending, s.tip, s.newestAt = nil, up.Position, sent
	up.cut.Acknowledge(up.Position)
	s.levels.added(up.TXID, up.info, time.Now())
	s.acknowledged(up, time.Since(sent))
	up.outcome <- true
	if err := up.body.Close(); err != nil {
		s.log.Warn("removing a temporary file failed", "error", err)
	}
}
