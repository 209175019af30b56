package vfs

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"sync"

	"github.com/walvfs/walvfs/format"
	"github.com/walvfs/walvfs/shipper"
)

// sidecar is the file beside the database that remembers its replica. What it
// cannot prove is not assumed; without it, this copy of the database does not
// know the replica.
type sidecar struct {
	path string

	mu sync.Mutex
	format.Sidecar
}

// openSidecar reads what is known of the replica, nothing if the file is not
// there, not whole, or another copy's or another replica's.
func openSidecar(path, replica string, id fileID) *sidecar {
	s := &sidecar{path: path + format.SidecarSuffix}
	b, err := os.ReadFile(s.path)
	if err == nil {
		err = s.UnmarshalBinary(b)
	}
	if err != nil || s.Device != id.device || s.Inode != id.inode || s.Replica != replica {
		s.Sidecar = format.Sidecar{NodeID: rand.Uint64(), Replica: replica, Device: id.device, Inode: id.inode}
	}
	return s
}

// knows reports whether a file of the replica is one that this copy wrote.
func (s *sidecar) knows(tip *shipper.Tip) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	mark := format.SidecarMark{TXID: tip.MaxTXID, Checksum: tip.Checksum}
	return s.Acked != nil && *s.Acked == mark || s.Intent != nil && *s.Intent == mark
}

// acknowledge remembers the position that the replica has. It is written with the
// next intent, which is what tells after a crash.
func (s *sidecar) acknowledge(pos shipper.Position) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.Acked = &format.SidecarMark{TXID: pos.TXID, Checksum: pos.Checksum}
}

// intend writes down what is about to be uploaded.
func (s *sidecar) intend(pos shipper.Position) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.Intent = &format.SidecarMark{TXID: pos.TXID, Checksum: pos.Checksum}
	b, err := s.MarshalBinary()
	if err != nil {
		return err
	}
	return writeFile(s.path, b)
}

// writeFile replaces a file so that a crash leaves the old or the new content.
func writeFile(path string, b []byte) error {
	tmp := path + ".tmp"
	f, err := os.OpenFile(tmp, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	err = errors.Join(err, f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(tmp, path)
	}
	if err != nil {
		os.Remove(tmp)
	}
	return err
}

// Last implements [shipper.Source].
func (d *database) Last() format.TXID {
	d.side.mu.Lock()
	defer d.side.mu.Unlock()
	if d.side.Acked == nil {
		return 0
	}
	return d.side.Acked.TXID
}

// Recognize implements [shipper.Source].
func (d *database) Recognize(_ context.Context, tip *shipper.Tip) error {
	switch {
	case tip == nil:
		d.capture.overdue("the replica is empty")
	case d.side.knows(tip):
		d.capture.overdue("continuity with the last run is not proven")
	case d.cfg.overwrite:
		d.capture.overdue("diverged=overwrite")
	default:
		return fmt.Errorf("%w: its newest file is TXID %s of %s, which this copy of the database did not write; "+
			"restore the replica to go on from it, use another replica URL, or set diverged=overwrite to go on with this database's content",
			shipper.ErrDiverged, tip.MaxTXID, tip.Time.UTC().Format("2006-01-02T15:04:05Z"))
	}
	return nil
}

// Intend implements [shipper.Source].
func (d *database) Intend(pos shipper.Position) error { return d.side.intend(pos) }
