package vfs

import (
	"context"
	"errors"

	"github.com/walvfs/walvfs/shipper"
	"github.com/walvfs/walvfs/shipper/sidecar"
	"github.com/walvfs/walvfs/shipper/storage"
)

// behind returns why a database that is not open is behind its replica, "" if it is
// not, or if that is not certain. It is, if the replica has acknowledged all that
// was ever committed to it, and then went on; and if its disk has lost commits of
// the one file that the replica ends with, and nothing came after them.
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
	lost := errors.Is(err, errDiskLost) && f.last < side.State.Scanned
	if !lost && (err != nil || !allAcked(side, at, f)) {
		return "", nil
	}
	tip, err := shipper.FindTip(ctx, store, side.Acked.TXID)
	if tip == nil || err != nil {
		return "", err
	}
	if lost {
		return lostReason(side, tip), nil
	}
	if tip.MaxTXID <= side.Acked.TXID {
		return "", nil
	}
	follows, err := shipper.Follows(ctx, store, shipper.Position{TXID: side.Acked.TXID, Checksum: side.Acked.Checksum})
	if !follows || err != nil {
		return "", err
	}
	return "another machine has gone on from it", nil
}

// allAcked reports whether the replica has acknowledged all that was ever committed.
func allAcked(side sidecar.Sidecar, at place, f found) bool {
	s := side.State
	if s.Unsynced && s.Closed == nil {
		return false
	}
	return s.Floor > 0 && len(s.Dirty) == 0 && len(side.Intents) == 0 && at.epoch == f.wal.Salt && at.scanned >= f.last
}

// lostReason tells whether what the disk has lost is in the replica: what was
// scanned last is what was cut last.
func lostReason(side sidecar.Sidecar, tip *shipper.Tip) string {
	last := *side.Acked
	if n := len(side.Intents); n > 0 {
		last = side.Intents[n-1]
	} else if len(side.State.Dirty) > 0 {
		return ""
	}
	if tip.MaxTXID != last.TXID || tip.Checksum != last.Checksum {
		return ""
	}
	return errDiskLost.Error()
}
