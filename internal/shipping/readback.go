package shipping

import (
	"context"
	"errors"
	"fmt"

	"github.com/walvfs/walvfs/format"
	"github.com/walvfs/walvfs/shipper"
)

// errEarlierUpload means that the key of an upload holds a file which an earlier run of
// this database gave up, but whose upload succeeded later.
var errEarlierUpload = errors.New("an earlier upload has arrived late")

// readBack finds out which writer made the file under the key of an upload that the store
// refused because of it. If an answer was lost, or the SDK retried, the file is our own,
// and the upload a success.
func (s *Shipper) readBack(ctx context.Context, up *upload) error {
	body, attrs, err := s.store.Open(ctx, up.key, 0, 0)
	if err != nil {
		return err
	}
	body.Close()
	if attrs.WriteID != "" && attrs.WriteID == up.writeID {
		return nil
	}
	theirs, err := s.replica.Raw(ctx, up.TXID)
	switch {
	case errors.Is(err, format.ErrCorrupt):
		// The file is damaged, or is no LTX file, but it has our key.
	case err != nil:
		return err
	case theirs == nil:
		return fmt.Errorf("%s/%s was deleted while it was read", s.store, up.key)
	case attrs.WriteID == "" && theirs.Checksum == up.Checksum && theirs.Header == up.header:
		// The store keeps no write ID. The header contains the node and the time, and the
		// checksum covers everything: this is the same file.
		return nil
	case s.source.Intended(shipper.Position{TXID: up.TXID, Checksum: theirs.Checksum}):
		return errEarlierUpload
	}
	return fmt.Errorf("%w: %s/%s was written by another writer", shipper.ErrFenced, s.store, up.key)
}
