package shipping

import (
	"context"
	"fmt"
	"time"

	"github.com/walvfs/walvfs/format"
	"github.com/walvfs/walvfs/shipper"
)

// lateAfter is half of the least time for which level 0 files are kept. A writer that was
// suspended for longer may create a TXID that another writer used and whose file
// retention has deleted since.
const lateAfter = LeastKeepRaw / 2

// elapsed returns how long ago t was, by the clock that shows the longer time: the
// monotonic clock may stand still while a machine sleeps, and the wall clock may be set
// back.
func elapsed(t time.Time) time.Duration {
	now := time.Now()
	return max(now.Sub(t), now.Round(0).Sub(t.Round(0)))
}

// isLate reports whether another writer may have come and gone since this shipper last
// knew the replica's tip.
func (s *Shipper) isLate() bool { return elapsed(s.newestAt) > lateAfter }

// mayCreate checks, before a late upload, that no other file exists at its TXID or after
// it. A file that was not created needs no removal, and a crash cannot leave it behind.
func (s *Shipper) mayCreate(ctx context.Context, up *upload) error {
	other, arrived, err := s.overtaking(ctx, up)
	if err != nil || other == "" || arrived {
		return err // readBack reads a file that has arrived already
	}
	return fmt.Errorf("%w: %s/%s existed before TXID %s was uploaded", shipper.ErrFenced, s.store, other, up.TXID)
}

// checkLate checks that an upload which was answered late is the replica's newest file.
// If another file exists at its TXID or after it, another writer has overtaken this one,
// and checkLate removes the upload.
func (s *Shipper) checkLate(ctx context.Context, up *upload) error {
	other, _, err := s.overtaking(ctx, up)
	if err != nil || other == "" {
		return err
	}
	if err := s.store.Delete(ctx, up.key); err != nil {
		return err
	}
	return fmt.Errorf("%w: %s/%s existed when TXID %s arrived late", shipper.ErrFenced, s.store, other, up.TXID)
}

// overtaking returns the key of another file at the TXID of an upload or after it, "" if
// there is none, and whether a file has the upload's own key. A file of a higher level
// that ends at the TXID may be compacted from that file.
func (s *Shipper) overtaking(ctx context.Context, up *upload) (other string, arrived bool, err error) {
	ends := "" // a file of a higher level that ends at the TXID
	for f, err := range s.replica.List(ctx, up.TXID) {
		if err != nil {
			return "", false, err
		}
		key := s.replica.Key(f.FileInfo)
		switch {
		case f.MaxTXID < up.TXID:
		case key == up.key:
			arrived = true
		case f.Level > format.LevelRaw && f.MaxTXID == up.TXID:
			ends = key
		case other == "":
			other = key
		}
	}
	if other == "" && !arrived {
		other = ends
	}
	return other, arrived, nil
}
