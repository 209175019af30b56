package shipping_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/walvfs/walvfs/internal/shipping"
)

// Consecutive uploads of the whole database are spaced out, except for waiting callers.
// Once the changes are known again, uploads have their usual pauses.
func TestWholeUploadsAreSpacedOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, db := newStore(t), newDB(5000)
		db.noise = true
		s := shipping.New(db, store, shipping.Options{Interval: time.Second})
		defer s.Close()
		uploads := func(d time.Duration) int64 {
			before := s.Status().Uploads
			for end := time.Now().Add(d); time.Now().Before(end); time.Sleep(500 * time.Millisecond) {
				db.commit(1)
				s.Wake()
			}
			return s.Status().Uploads - before
		}
		db.whole.Store(true)
		if n := uploads(10 * time.Minute); n < 6 || n > 10 {
			t.Errorf("%d uploads of the whole database in 10 minutes", n)
		}
		db.commit(1)
		s.Wake()
		if lag := s.Lag(); lag == 0 {
			t.Error("no lag")
		}
		began := time.Now()
		drain(t, s)
		if took := time.Since(began); took > time.Second {
			t.Errorf("who waits, waits %s", took)
		}
		db.whole.Store(false)
		uploads(6 * time.Minute) // the last pause ends
		if n := uploads(time.Minute); n < 58 {
			t.Errorf("%d uploads in a minute", n)
		}
	})
}
