package shipping_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/walvfs/walvfs/format"
	"github.com/walvfs/walvfs/internal/shipping"
	"github.com/walvfs/walvfs/shipper"
	"github.com/walvfs/walvfs/shipper/replica"
	"github.com/walvfs/walvfs/shipper/storage"
)

// The shipper recognizes an upload whose answer was lost as its own, with a write ID or
// without one, and cuts nothing again under its TXID.
func TestLostAnswer(t *testing.T) {
	for _, writeIDs := range []bool{true, false} {
		t.Run(fmt.Sprint("write IDs ", writeIDs), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				store, db := newStore(t), newDB(2)
				s := shipping.New(db, forgetful{store, writeIDs}, shipping.Options{})
				defer s.Close()
				drain(t, s)
				lost := 3
				store.After = func(_ context.Context, op, _ string) error {
					if op == "create" && lost > 0 {
						lost--
						return errStore
					}
					return nil
				}
				db.commit(1)
				s.Wake()
				synctest.Wait()
				db.commit(2)
				drain(t, s)
				if st := s.Status(); st.Tip.TXID != 3 || st.State != shipper.Streaming {
					t.Errorf("tip %s, %s", st.Tip.TXID, st.State)
				}
				if len(db.intended) != 3 || !slices.Equal(db.intended, db.acked) {
					t.Errorf("intended %v, acknowledged %v", db.intended, db.acked)
				}
				requireSame(t, store, db)
			})
		})
	}
}

// forgetful is a store that may not keep write IDs.
type forgetful struct {
	storage.Store
	keeps bool
}

func (f forgetful) Create(ctx context.Context, key string, body storage.Body, attrs storage.Attrs) error {
	if !f.keeps {
		attrs.WriteID = ""
	}
	return f.Store.Create(ctx, key, body, attrs)
}

// Of two writers, one gets the next TXID. The other is fenced: it reports that, and makes
// no further writes and no further requests.
func TestFence(t *testing.T) {
	for _, writeIDs := range []bool{true, false} {
		t.Run(fmt.Sprint("write IDs ", writeIDs), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				store := newStore(t)
				first, second := newDB(2), newDB(2)
				a := shipping.New(first, forgetful{store, writeIDs}, shipping.Options{})
				defer a.Close()
				drain(t, a)
				b := shipping.New(second, forgetful{store, writeIDs}, shipping.Options{})
				defer b.Close()
				drain(t, b) // b takes over

				first.commit(1)
				if err := a.Drain(t.Context()); !errors.Is(err, shipper.ErrFenced) {
					t.Errorf("the first writer got %v", err)
				}
				var requests atomic.Int64
				store.Before = func(context.Context, string, string) error { requests.Add(1); return nil }
				first.commit(1)
				a.Wake()
				if err := a.Drain(t.Context()); !errors.Is(err, shipper.ErrFenced) {
					t.Errorf("the first writer got %v", err)
				}
				if st := a.Status(); requests.Load() > 0 || st.State != shipper.Halted || !errors.Is(st.Err, shipper.ErrFenced) {
					t.Errorf("%d requests, state %s: %v", requests.Load(), st.State, st.Err)
				}
				second.commit(2)
				drain(t, b)
				requireSame(t, store, second)
			})
		})
	}
}

// A writer that slept while another writer continued, and while retention freed the keys
// that it would collide with, does not bring an old TXID back.
func TestSleeper(t *testing.T) {
	for _, test := range []struct {
		name  string
		sleep time.Duration
		left  format.FileInfo // a file that the other writer left
		want  error
	}{
		{"overtaken", time.Hour, format.FileInfo{MinTXID: 5, MaxTXID: 5}, shipper.ErrFenced},
		{"overtaken and compacted", time.Hour, format.FileInfo{Level: 9, MinTXID: 1, MaxTXID: 3}, shipper.ErrFenced},
		{"alone", time.Hour, format.FileInfo{Level: 9, MinTXID: 1, MaxTXID: 1}, nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				store, db := newStore(t), newDB(1)
				s := shipping.New(db, store, shipping.Options{})
				defer s.Close()
				drain(t, s)
				create(t, store, test.left)
				time.Sleep(test.sleep)
				db.commit(1)
				err := s.Drain(t.Context())
				if !errors.Is(err, test.want) {
					t.Errorf("%v, want %v", err, test.want)
				}
				for obj := range store.List(t.Context(), store.Layout().Key(0, 2, 2), "") {
					if err != nil {
						t.Errorf("%s is left", obj.Key)
					}
				}
			})
		})
	}
}

// A writer that is not late requests no listing.
func TestNoListing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, db := newStore(t), newDB(1)
		s := shipping.New(db, store, shipping.Options{})
		defer s.Close()
		drain(t, s)
		var others atomic.Int64
		store.Before = func(_ context.Context, op, _ string) error {
			if op != "create" {
				others.Add(1)
			}
			return nil
		}
		for range 100 {
			db.commit(1)
			drain(t, s)
			time.Sleep(time.Minute)
		}
		if n := others.Load(); n != 0 {
			t.Errorf("%d requests beside uploads", n)
		}
	})
}

// The shipper does not change a replica with another history.
func TestDiverged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newStore(t)
		a := shipping.New(newDB(1), store, shipping.Options{})
		defer a.Close()
		drain(t, a)
		db := newDB(1)
		db.recognize = func(tip *replica.Tip) error {
			if tip == nil || tip.MaxTXID != 1 {
				t.Errorf("the tip is %v", tip)
			}
			return shipper.ErrDiverged
		}
		b := shipping.New(db, store, shipping.Options{})
		defer b.Close()
		if err := b.Drain(t.Context()); !errors.Is(err, shipper.ErrDiverged) || db.cuts > 0 {
			t.Errorf("%v, %d cuts", err, db.cuts)
		}
	})
}
