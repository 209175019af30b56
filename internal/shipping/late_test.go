package shipping_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/walvfs/walvfs/format"
	"github.com/walvfs/walvfs/internal/shipping"
	"github.com/walvfs/walvfs/shipper"
	"github.com/walvfs/walvfs/shipper/replica"
	"github.com/walvfs/walvfs/shipper/storage"
)

// overtake lets another writer continue, and retention delete its first files.
func overtake(t *testing.T, store storage.Store) {
	t.Helper()
	create(t, store, format.FileInfo{Level: 1, MinTXID: 2, MaxTXID: 4})
	create(t, store, format.FileInfo{MinTXID: 5, MaxTXID: 5})
}

// A late writer is fenced, however it became late and whatever the store does meanwhile.
// No TXID gets a second restorable content, even if the writer ends before it has checked
// the replica.
func TestLateWriter(t *testing.T) {
	for name, test := range map[string]struct {
		recognize time.Duration // time to find out what the tip means
		sleep     time.Duration // between two uploads
		noLists   bool          // after the sleep
		want      error
	}{
		"while the tip is compared": {recognize: 20 * time.Minute, want: shipper.ErrFenced},
		"after a sleep":             {sleep: time.Hour, want: shipper.ErrFenced},
		"after a sleep, then a crash": {sleep: time.Hour, noLists: true,
			want: context.DeadlineExceeded},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				store, db := newStore(t), newDB(1)
				s := shipping.New(db, store, shipping.Options{})
				drain(t, s) // TXID 1
				if test.recognize > 0 {
					s.Close()
					db.recognize = func(*replica.Tip) error {
						time.Sleep(test.recognize)
						overtake(t, store)
						return nil
					}
					s = shipping.New(db, store, shipping.Options{})
				} else {
					overtake(t, store)
					time.Sleep(test.sleep)
				}
				if test.noLists {
					store.Before = func(_ context.Context, op, _ string) error {
						if op == "list" {
							return errStore
						}
						return nil
					}
				}
				db.commit(1)
				ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
				defer cancel()
				if err := s.Drain(ctx); !errors.Is(err, test.want) {
					t.Errorf("got %v, want %v", err, test.want)
				}
				s.Close()
				store.Before = nil
				for obj := range store.List(t.Context(), "", "") {
					if f, ok := store.Layout().Parse(obj.Key); ok && f.Level == format.LevelRaw && f.MinTXID == 2 {
						t.Errorf("%s has a second content of TXID 2", obj.Key)
					}
				}
			})
		})
	}
}

// A writer recognizes an upload that arrived before it slept as its own.
func TestLateAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, db := newStore(t), newDB(1)
		s := shipping.New(db, store, shipping.Options{})
		defer s.Close()
		drain(t, s)
		var lost time.Time
		store.After = func(_ context.Context, op, _ string) error {
			if op == "create" && lost.IsZero() {
				lost = time.Now()
				return errStore
			}
			return nil
		}
		store.Before = func(context.Context, string, string) error {
			if !lost.IsZero() && time.Since(lost) < time.Hour {
				return errStore
			}
			return nil
		}
		db.commit(1)
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Hour)
		defer cancel()
		if err := s.Drain(ctx); err != nil {
			t.Error(err)
		}
		requireSame(t, store, db)
	})
}
