package shipping

import (
	"context"
	"fmt"
	"time"

	"github.com/walvfs/walvfs/format"
	"github.com/walvfs/walvfs/shipper"
)

// lateAfter is half of the least time for which level 0 files are kept. A writer
// that was suspended for longer may create a TXID that another one wrote, and
// whose file retention has removed since.
const lateAfter = LeastKeepRaw / 2

// elapsed returns how long ago t was, by the clock that says more: the monotonic
// one may stand still while a machine sleeps, and the wall clock may be set back.
func elapsed(t time.Time) time.Duration {
	now := time.Now()
	return max(now.Sub(t), now.Round(0).Sub(t.Round(0)))
}

// isLate reports whether another writer may have come and gone since the replica's tip
// was last known.
func (s *Shipper) isLate() bool { return elapsed(s.newestAt) > lateAfter }

// mayCreate makes sure, before a late upload, that no other file stands at its TXID or
// after it: what is not created need not be removed, and cannot be left behind by a
// crash.
func (s *Shipper) mayCreate(ctx context.Context, up *upload) error {
	other, arrived, err := s.overtaking(ctx, up)
	if err != nil || other == "" || arrived {
		return err // what has arrived already is read back
	}
	return fmt.Errorf("%w: %s/%s existed before TXID %s was uploaded", shipper.ErrFenced, s.store, other, up.TXID)
}

// checkLate makes sure that an upload which was answered late is the replica's
// newest file. If another one is at its TXID or after it, this writer has been
// overtaken: its file is removed again.
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
// there is none, and whether the upload's own key is taken. A file of a higher level that
// ends at the TXID may be compacted from the one that has the key.
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
