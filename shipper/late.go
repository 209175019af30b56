package shipper

import (
	"context"
	"fmt"
	"time"

	"github.com/walvfs/walvfs/format"
)

// lateAfter is half of the least time for which level 0 files are kept. A writer
// that was suspended for longer may create a TXID that another one wrote, and
// whose file retention has removed since.
const lateAfter = 150 * time.Second

// elapsed returns how long ago t was, by the clock that says more: the monotonic
// one may stand still while a machine sleeps, and the wall clock may be set back.
func elapsed(t time.Time) time.Duration {
	now := time.Now()
	return max(now.Sub(t), now.Round(0).Sub(t.Round(0)))
}

// checkLate makes sure that an upload which was answered late is the replica's
// newest file. If another one is at its TXID or after it, this writer has been
// overtaken: its file is removed again.
func (s *Shipper) checkLate(ctx context.Context, up *upload) error {
	layout := s.store.Layout()
	startAfter := ""
	if up.TXID > 1 {
		startAfter = layout.Key(format.LevelRaw, up.TXID-1, up.TXID-1)
	}
	for obj, err := range s.store.List(ctx, layout.Prefix(), startAfter) {
		if err != nil {
			return err
		}
		f, ok := layout.Parse(obj.Key)
		if !ok || f.MaxTXID < up.TXID || obj.Key == up.key {
			continue
		}
		if f.Level > format.LevelRaw && f.MaxTXID == up.TXID {
			continue // compacted from this very file
		}
		if err := s.store.Delete(ctx, up.key); err != nil {
			return err
		}
		return fmt.Errorf("%w: %s/%s was there when TXID %s arrived late", ErrFenced, s.store, obj.Key, up.TXID)
	}
	return nil
}
