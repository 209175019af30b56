package shipping

import (
	"context"
	"errors"
	"fmt"

	"github.com/walvfs/walvfs/format"
	"github.com/walvfs/walvfs/shipper"
)

// errEarlierUpload: under the key of an upload stands one that an earlier run of
// this database gave up, and the store did not.
var errEarlierUpload = errors.New("an earlier upload has arrived late")

// readBack finds out whose file stands under the key of an upload that the store
// refused because of it. An answer that was lost, or a retry inside the SDK, makes
// it our own: that is a success.
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
		// Whatever it is, it is in our place.
	case err != nil:
		return err
	case theirs == nil:
		return fmt.Errorf("%s/%s was deleted while it was read", s.store, up.key)
	case attrs.WriteID == "" && theirs.Checksum == up.Checksum && theirs.Header == up.header:
		// The store keeps no write ID. The header has the node and the time, the
		// checksum covers everything: this is the same file.
		return nil
	case s.source.Intended(shipper.Position{TXID: up.TXID, Checksum: theirs.Checksum}):
		return errEarlierUpload
	}
	return fmt.Errorf("%w: %s/%s was written by another writer", shipper.ErrFenced, s.store, up.key)
}
