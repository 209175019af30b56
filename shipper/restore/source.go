package restore

import (
	"fmt"
	"time"

	"github.com/walvfs/walvfs/shipper/replica"
	"github.com/walvfs/walvfs/shipper/storage"
)

// retryFor is how long a download may stall before the restore fails.
const retryFor = 2 * time.Minute

// read returns the reader of a replica.
func (o Options) read(store storage.Store) *replica.Replica {
	return replica.New(store, replica.Options{Patience: retryFor, Logger: o.Logger})
}

func (o Options) target() replica.Target { return replica.Target{TXID: o.TXID, Timestamp: o.Timestamp} }

// explain adds to the error about a damaged file which TXID can be restored without it.
func explain(bad *replica.Damaged, listed replica.Files) error {
	e := &Error{Op: "apply", Name: bad.Name, Err: bad.Err}
	for _, txid := range listed.Restorable() {
		if txid < bad.File.MaxTXID {
			// These files have not been read, or not to their ends.
			e.Hint = fmt.Sprintf("TXID %s, the one before, can be restored if the files that it takes are whole", txid)
		}
	}
	return e
}
