package vfs

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/walvfs/walvfs/format"
	"github.com/walvfs/walvfs/internal/shipping"
	"github.com/walvfs/walvfs/shipper/replica"
	"github.com/walvfs/walvfs/shipper/storage/storagetest"
)

// looked is a source without pages, and with a commit frame that CommitPhaseTwo has not
// followed.
type looked struct {
	*database
	looks atomic.Int64
}

func (l *looked) Recognize(context.Context, *replica.Tip) error { return nil }
func (l *looked) Last() format.TXID                             { return 0 }
func (l *looked) Rest()                                         {}
func (l *looked) Cut(context.Context, *shipping.Extra) (shipping.Cut, error) {
	l.looks.Add(1)
	l.recheck()
	return nil, nil
}

// A commit frame without a success is rechecked for some 10 s after it was written, and
// no longer, however often others call Look.
func TestRecheckEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &looked{database: &database{}}
		l.ship = shipping.New(l, &storagetest.Memory{Name: t.Name()}, shipping.Options{Unfenced: true})
		defer l.ship.Close()
		l.unsettled.Store(1)
		looksIn := func(d time.Duration) int64 {
			before := l.looks.Load()
			time.Sleep(d)
			synctest.Wait()
			return l.looks.Load() - before
		}
		for range 3 {
			l.rechecks.Store(0) // a commit frame
			l.wake()
			if n := looksIn(9 * time.Second); n < 10 {
				t.Errorf("%d looks in the first 9 s", n)
			}
			looksIn(2 * time.Second)
			if n := looksIn(time.Hour); n != 0 {
				t.Errorf("%d looks after 11 s", n)
			}
			for range 100 {
				l.ship.Look()
				synctest.Wait()
			}
			if n := looksIn(time.Hour); n != 0 {
				t.Errorf("%d looks after others have looked", n)
			}
		}
	})
}
