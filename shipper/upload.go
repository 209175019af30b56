package shipper

import (
	"context"
	"crypto/rand"
	"errors"
	"time"

	"github.com/walvfs/walvfs/format"
	"github.com/walvfs/walvfs/shipper/storage"
)

// recognize finds the replica's tip and lets the source decide what it means.
func (s *Shipper) recognize(ctx context.Context) error {
	if !s.opts.Unfenced {
		if err := checkFencing(ctx, s.store); err != nil {
			return err
		}
	}
	tip, err := FindTip(ctx, s.store, s.source.Last())
	if err != nil {
		return err
	}
	if err := s.source.Recognize(ctx, tip); err != nil {
		return err
	}
	s.newestAt = time.Now()
	if tip != nil {
		s.tip = Position{tip.MaxTXID, tip.Checksum, tip.Time}
	} else {
		s.tip = Position{Time: s.tip.Time}
	}
	s.setTip(s.tip)
	s.levels.begin(s.tip.TXID, s.tip.Time)
	s.recognized = true
	return nil
}

// An upload is a level 0 file on its way to the replica, and the files of higher
// levels that end with it.
type upload struct {
	Position
	cut     Cut
	info    CutInfo
	key     string
	writeID string
	header  format.LTXHeader
	body    *spool
	holds   Commit       // all up to this
	oldest  int64        // sinceStart of the oldest commit in it
	levels  []*levelFile // cut with it
	outcome chan bool    // whether the replica has it, for them
	read    bool         // the cut is closed
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
	if s.finishing.Load() == 0 {
		due = s.levels.due(time.Now())
	}
	by, oldest := s.cuts.Add(1), s.oldest.Swap(0)
	cut, err := s.source.Cut(s.ctx, len(due) > 0)
	if err == nil && cut == nil {
		s.reached(Commit{By: by})
		return nil, nil
	}
	if err != nil {
		s.putBack(oldest)
		return nil, err
	}

	up := &upload{
		Position: Position{TXID: s.tip.TXID + 1, Time: s.timestamp()},
		cut:      cut,
		info:     cut.Info(),
		writeID:  rand.Text(),
		body:     s.newSpool(),
		oldest:   oldest,
		outcome:  make(chan bool, 1),
	}
	up.holds = up.info.end()
	up.holds.By = by
	due = s.fromCut(up.info, due)
	if up.info.Same {
		up.Position = s.tip
		cut.Abandon()
		up.outcome <- true
		s.reached(Commit{By: by})
		return nil, s.cutLevels(up, due)
	}
	up.key = s.store.Layout().Key(format.LevelRaw, up.TXID, up.TXID)
	end := up.endReading
	if len(due) > 0 {
		end = nothing // every half a minute at most: they read it, too
	}
	err = s.encodeRaw(up, end)
	if err == nil {
		// After the WAL is on the disk: what is remembered tells of its frames.
		err = cut.Intend(up.Position)
	}
	if err != nil {
		s.leave(due) // for the next cut
		due = nil
	}
	if cerr := s.cutLevels(up, due); err == nil {
		err = cerr
	}
	if err != nil {
		s.abandon(up)
		return nil, err
	}
	s.inFlight.Store(up.oldest)
	return up, nil
}

func (s *Shipper) newSpool() *spool { return &spool{dir: s.opts.SpoolDir} }

func (s *Shipper) abandon(up *upload) {
	up.cut.Abandon()
	s.levels.abandon(up.levels, time.Now())
	up.outcome <- false
	up.body.Close()
	s.putBack(up.oldest)
}

// uploadTime is how long an upload of so many bytes may take, on a slow link.
func uploadTime(size int64) time.Duration {
	return time.Minute + time.Duration(size>>16)*time.Second
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
		s.inFlight.Store(0)
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
	// Nothing may hang for ever.
	ctx, cancel := context.WithTimeout(ctx, uploadTime(up.body.size))
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
	if err == nil && elapsed(s.newestAt) > lateAfter {
		err = s.checkLate(ctx, up)
	}
	if err == nil && up.info.Rebase {
		err = s.rebase(ctx, up)
	}
	if err != nil {
		return false, err
	}

	s.pending, s.tip, s.newestAt, s.lastTook = nil, up.Position, s.lastSent, time.Since(s.lastSent)
	up.cut.Acknowledge(up.Position)
	s.levels.add(up.TXID, up.info, time.Now())
	s.acknowledged(up)
	up.outcome <- true
	s.tend(nil)
	if err := up.body.Close(); err != nil {
		s.log.Warn("cannot remove a temporary file", "error", err)
	}
	return false, nil
}
