package vfs

import (
	"context"
	"errors"
	"slices"

	"github.com/walvfs/walvfs/format"
	"github.com/walvfs/walvfs/shipper"
	"github.com/walvfs/walvfs/shipper/sidecar"
	"github.com/walvfs/walvfs/shipper/storage"
)

// behind returns why a database that is not open is behind its replica, "" if it is
// not, or if that is not certain. It is, if the replica has acknowledged all that
// was ever committed to it, and then went on; and if its disk has lost commits that
// the replica's newest file has, which this database wrote from the very WAL that is
// cut short now.
func behind(ctx context.Context, path string, store storage.Store) (why string, err error) {
	id, err := sidecar.Identify(path)
	if err != nil {
		return "", err
	}
	side, err := sidecar.Load(path)
	if err != nil || side.File != id || side.Replica != store.String() || side.Acked == nil || side.State == nil || side.DiskLost {
		return "", nil // nothing is known of the replica
	}
	f := look(path)
	at, err := prove(side.State, path, f)
	lost := errors.Is(err, errDiskLost) && wasCutAt(side.State, path, f)
	if !lost && (err != nil || !allAcked(side, at, f)) {
		return "", nil
	}
	tip, err := shipper.FindTip(ctx, store, side.Acked.TXID)
	if tip == nil || err != nil {
		return "", err
	}
	switch {
	case lost && holdsMore(side, tip, f):
		return errDiskLost.Error(), nil
	case lost, tip.MaxTXID <= side.Acked.TXID:
		return "", nil
	}
	follows, err := shipper.Follows(ctx, store, shipper.Position{TXID: side.Acked.TXID, Checksum: side.Acked.Checksum})
	if !follows || err != nil {
		return "", err
	}
	return "another machine has gone on from it", nil
}

// wasCutAt reports whether the WAL ends with a commit that a file of the replica was
// cut at: all that is in it, the replica has. What was committed between two cuts is
// not told from what somebody committed after the loss.
func wasCutAt(s *sidecar.State, path string, f found) bool {
	if f.last == 0 {
		return s.Scanned > 0 && f.wal.Salt == s.Epoch
	}
	sum, err := frameChecksum(path, f.wal, f.last)
	return err == nil && slices.Contains(s.Trail, sidecar.Frame{Number: f.last, Checksum: sum})
}

// allAcked reports whether the replica has acknowledged all that was ever committed.
func allAcked(side sidecar.Sidecar, at place, f found) bool {
	s := side.State
	if s.Unsynced && s.Closed == nil {
		return false
	}
	return s.Floor > 0 && len(s.Dirty) == 0 && len(side.Intents) == 0 && at.epoch == f.wal.Salt && at.scanned >= f.last
}

// holdsMore reports whether the replica's newest file is this database's own, and was
// cut from the WAL that the database has, at a frame after its last commit.
func holdsMore(side sidecar.Sidecar, tip *shipper.Tip, f found) bool {
	m := memory{Sidecar: side}
	if m.find(shipper.Position{TXID: tip.MaxTXID, Checksum: tip.Checksum}) == nil {
		return false
	}
	frames, ok := cutFrames(tip.Header, f.wal)
	return ok && frames > int64(f.last)
}

// cutFrames returns the number of frames of a WAL up to the boundary that a file was
// cut at, if it was cut from that WAL.
func cutFrames(h format.LTXHeader, wal format.WALHeader) (frames int64, ok bool) {
	if wal.Salt.IsZero() || h.WALSalt1 != wal.Salt.Salt1() || h.WALSalt2 != wal.Salt.Salt2() {
		return 0, false
	}
	return (h.WALOffset + h.WALSize - format.WALHeaderSize) / (format.FrameHeaderSize + int64(wal.PageSize)), true
}
