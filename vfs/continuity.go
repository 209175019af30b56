package vfs

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"time"

	"github.com/RoaringBitmap/roaring/v2"

	"github.com/walvfs/walvfs/format"
	"github.com/walvfs/walvfs/shipper"
	"github.com/walvfs/walvfs/shipper/sidecar"
)

// state describes what the replica may not have. c.mu must be held.
func (c *capture) state() sidecar.State {
	dirty := c.dirty
	if c.inFlight != nil {
		dirty = roaring.Or(dirty, c.inFlight.pages)
	}
	return withPages(c.outline(), dirty)
}

// outline is the state but for its pages. c.mu must be held.
func (c *capture) outline() sidecar.State {
	s := sidecar.State{Acked: c.acked, Intents: c.intents, Unsynced: c.unsynced, Epoch: c.epoch, Scanned: c.scanned, PageSize: c.pageSize, Floor: c.floor}
	if c.scanned > 0 {
		s.Checksum = c.checksum
	}
	if c.epoch.IsZero() {
		s.Closed = c.closed
	}
	s.Trail = c.trail
	if c.inFlight != nil {
		s.Floor = min(s.Floor, c.inFlight.floor)
	}
	return s
}

func withPages(s sidecar.State, dirty *roaring.Bitmap) sidecar.State {
	if s.Floor == 0 {
		return s // every page is dirty
	}
	var err error
	if s.Dirty, err = sidecar.Pages(dirty); err != nil {
		s.Floor = 0
	}
	return s
}

// tellMore tells the journal of a state that has the pages of the one before, and
// some more: an application waits for it, and the set may be large. c.mu must be
// held.
func (c *capture) tellMore(s sidecar.State) {
	c.told++
	more := withPages(s, c.fresh)
	more.More = true
	c.journal(more, func() sidecar.State {
		all := c.state()
		s.Floor, s.Dirty = all.Floor, all.Dirty
		return s
	})
	c.fresh.Clear()
}

// know remembers the newest file that the replica has. c.mu must be held.
func (c *capture) know(acked *sidecar.Mark) {
	c.acked, c.intents = acked, sidecar.After(c.intents, *acked)
}

// What resume finds.
var (
	errUnproven = errors.New("continuity with the last run is not proven")
	errDiskLost = errors.New("the disk has lost commits that the replica may have")
)

// resume goes on from the state that an earlier run left, if the WAL and the
// database file prove that nothing else has happened to the database than what the
// WAL shows. It must be called before the database is written to.
func (c *capture) resume(s *sidecar.State, path string, f found) error {
	if s == nil {
		return fmt.Errorf("%w: the sidecar has no state", errUnproven)
	}
	if s.Unsynced && s.Closed == nil {
		return fmt.Errorf("%w: synchronous was off", errUnproven)
	}
	dirty, err := s.Pages()
	if err != nil {
		return fmt.Errorf("%w: %w", errUnproven, err)
	}
	at, err := prove(s, path, f)
	if err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.epoch, c.scanned, c.checksum = at.epoch, at.scanned, at.checksum
	c.dirty, c.floor, c.pageSize = dirty, s.Floor, s.PageSize
	if at.epoch == s.Epoch {
		c.trail = s.Trail
	}
	if at.epoch.IsZero() {
		c.closed = s.Closed
	}
	if c.all() {
		c.reason = "an earlier run could not prove continuity, and did not upload it"
	}
	return nil
}

// A place is a frame of an epoch, from which on frames are to be scanned.
type place struct {
	epoch    format.Salt
	scanned  uint32
	checksum [2]uint32
}

// found is what the files of a database hold when it is opened, before anybody
// writes to them.
type found struct {
	wal  format.WALHeader // zero if there is no WAL, or an empty one
	last uint32           // frames of it up to the last commit
	err  error            // why the WAL cannot be read
	size int64            // of the database file, bytes
}

// look reads the WAL through.
func look(path string) (f found) {
	var info fs.FileInfo
	if info, f.err = os.Stat(path); f.err != nil {
		return f
	}
	f.size = info.Size()
	wal, err := os.Open(path + "-wal")
	if errors.Is(err, fs.ErrNotExist) {
		return f
	}
	if err == nil {
		defer wal.Close()
		f.wal, f.last, _, err = format.LastCommit(wal)
	}
	if errors.Is(err, format.ErrWALHeader) {
		return found{size: f.size} // to SQLite, too, it is empty
	}
	f.err = err
	return f
}

// prove compares a state with the files, and returns the place to go on from.
func prove(s *sidecar.State, path string, f found) (at place, err error) {
	switch {
	case f.err != nil:
		return at, fmt.Errorf("%w: %w", errUnproven, f.err)
	case f.wal.Salt.IsZero():
		return at, proveClosed(s, path)
	case f.wal.Salt == s.Previous:
		// The reset that was about to be has not happened. What is scanned beyond
		// the last commit will be overwritten.
		at = place{epoch: s.Previous, scanned: min(s.PreviousScanned, f.last)}
	case f.wal.Salt == s.Epoch:
		at = place{epoch: s.Epoch, scanned: s.Scanned}
	default:
		return at, fmt.Errorf("%w: %s", errUnproven, foreignReset)
	}
	if at.scanned == 0 {
		return at, nil
	}
	if at.checksum, err = frameChecksum(path, f.wal, at.scanned); err != nil {
		return at, fmt.Errorf("%w: %w", errUnproven, err)
	}
	// What was cut was synced first: it is here, or the disk did not keep it. A
	// frame's checksum covers all frames before it.
	if at.epoch == s.Epoch && (f.last < s.Scanned || at.checksum != s.Checksum) {
		return at, errDiskLost
	}
	return at, nil
}

// frameChecksum reads the checksum of frame n, zeros if the WAL ends before it.
func frameChecksum(path string, h format.WALHeader, n uint32) (sum [2]uint32, err error) {
	wal, err := os.Open(path + "-wal")
	if err != nil {
		return sum, err
	}
	defer wal.Close()
	var b [format.FrameHeaderSize]byte
	if _, err := wal.ReadAt(b[:], format.FrameOffset(h.PageSize, n)); err != nil && err != io.EOF {
		return sum, err
	}
	if salt, _, err := walSalt(wal); err != nil || salt != h.Salt {
		return sum, errors.New(foreignReset)
	}
	return format.ParseFrame(b[:]).Checksum, nil
}

// proveClosed compares a state with a database file without a WAL.
func proveClosed(s *sidecar.State, path string) error {
	info, err := os.Stat(path)
	if err != nil {
		return fmt.Errorf("%w: %w", errUnproven, err)
	}
	if s.Closed == nil {
		return fmt.Errorf("%w: the WAL is gone", errUnproven)
	}
	if !s.Closed.Equal(sidecar.ClosedAs(info)) {
		return fmt.Errorf("%w: the database was written to outside of this VFS", errUnproven)
	}
	return nil
}

// Last implements [shipper.Source].
func (d *database) Last() format.TXID {
	if d.memory.Acked == nil {
		return 0
	}
	return d.memory.Acked.TXID
}

// Intended implements [shipper.Source].
func (d *database) Intended(pos shipper.Position) bool { return d.memory.find(pos) != nil }

// Recognize implements [shipper.Source].
func (d *database) Recognize(ctx context.Context, tip *shipper.Tip) error {
	if tip == nil {
		reason := ""
		if d.memory.Acked != nil {
			reason = "the replica is empty, and was not"
		}
		d.capture.replicaNeedsAll(reason)
		d.memory.forget()
		d.theirPageSize, d.rebase = 0, false
		return nil
	}
	pos := shipper.Position{TXID: tip.MaxTXID, Checksum: tip.Checksum}
	mark := d.memory.find(pos)
	switch known := mark != nil; {
	case known && d.unproven == nil:
		// The next cut holds all that the tip does not.
		d.claim.Store(d.memory.Restored)
	case known && !errors.Is(d.unproven, errDiskLost):
		d.capture.replicaNeedsAll(d.unproven.Error())
	case d.cfg.overwrite:
		d.memory.decided()
		d.capture.replicaNeedsAll("diverged=overwrite")
	case known:
		switch err := d.requirePast(ctx, tip); {
		case errors.Is(err, shipper.ErrDiverged):
			return fmt.Errorf("%w: %w: restore the replica to have them back, or set diverged=overwrite to go on without", shipper.ErrDiverged, d.unproven)
		case err != nil:
			return err
		}
		d.memory.decided()
		d.capture.replicaNeedsAll("the disk has lost commits, but none that the replica has")
	case tip.Header.NodeID == d.memory.NodeID:
		// This file wrote it, and does not remember. It may be older than that now.
		if err := d.requirePast(ctx, tip); err != nil {
			return err
		}
		d.capture.replicaNeedsAll("the sidecar does not know the replica's newest file, but it is this database's past")
	default:
		return fmt.Errorf("%w: its newest file is TXID %s of %s, which this copy of the database did not write; "+
			"restore the replica to go on from it, use another replica URL, or set diverged=overwrite to go on with this database's content",
			shipper.ErrDiverged, tip.MaxTXID, tip.Time.UTC().Format(time.RFC3339))
	}
	d.rebase = mark != nil && mark.Rebase
	if d.rebase {
		d.capture.replicaNeedsAll("the page size changed, and the upload was interrupted")
	}
	acked := d.memory.acknowledge(pos)
	acked.Rebase = d.rebase
	d.theirPageSize = tip.Header.PageSize
	d.capture.mu.Lock()
	defer d.capture.mu.Unlock()
	d.capture.know(acked)
	return nil
}
