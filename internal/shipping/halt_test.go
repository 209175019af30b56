package shipping_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/walvfs/walvfs/format"
	"github.com/walvfs/walvfs/internal/shipping"
	"github.com/walvfs/walvfs/shipper"
	"github.com/walvfs/walvfs/shipper/replica"
	"github.com/walvfs/walvfs/shipper/storage"
	"github.com/walvfs/walvfs/shipper/storage/storagetest"
)

// The log repeats a halt with its remedy, ever more rarely but at least every 10 minutes,
// until the database is closed.
func TestHaltIsRepeated(t *testing.T) {
	for _, test := range []struct {
		name   string
		halt   func(*testing.T, *storagetest.Memory, *fakeDB)
		err    error
		remedy []string
	}{
		{"fenced", func(t *testing.T, store *storagetest.Memory, db *fakeDB) {
			create(t, store, format.FileInfo{MinTXID: 2, MaxTXID: 2})
		}, shipper.ErrFenced, []string{"stop one", "walvfs restore", "diverged=overwrite"}},
		{"diverged", func(_ *testing.T, store *storagetest.Memory, db *fakeDB) {
			store.SetBefore(func(context.Context, string, string) error { return fmt.Errorf("gone: %w", storage.ErrNoBucket) })
			db.recognize = func(*replica.Tip) error { return fmt.Errorf("%w (run walvfs adopt)", shipper.ErrDiverged) }
			time.AfterFunc(time.Second, func() { store.SetBefore(nil) })
		}, shipper.ErrDiverged, []string{"walvfs adopt"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				store, db := newStore(t), newDB(1)
				var log bytes.Buffer
				s := shipping.New(db, store, shipping.Options{Logger: slog.New(slog.NewJSONHandler(&log, nil))})
				defer s.Close()
				drain(t, s)
				test.halt(t, store, db)
				db.commit(1)
				if err := s.Drain(t.Context()); !errors.Is(err, test.err) {
					t.Fatalf("got %v", err)
				}
				requireHaltsLogged(t, s, &log, test.remedy)
			})
		})
	}
	t.Run("no fencing", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			db := newDB(1)
			var log bytes.Buffer
			s := shipping.New(db, overwriting{newStore(t)}, shipping.Options{Logger: slog.New(slog.NewJSONHandler(&log, nil))})
			defer s.Close()
			if err := s.Drain(t.Context()); !errors.Is(err, shipper.ErrNoFencing) {
				t.Fatalf("got %v", err)
			}
			requireHaltsLogged(t, s, &log, []string{"put-if-absent", "fencing=off"})
		})
	})
}

// requireHaltsLogged fails unless the log reports a halt that has just occurred, repeats
// it on schedule during the next hour, and stops after the shipper is closed.
func requireHaltsLogged(t *testing.T, s *shipping.Shipper, log *bytes.Buffer, remedy []string) {
	t.Helper()
	time.Sleep(time.Hour)
	s.Close()
	time.Sleep(time.Hour)
	var at []time.Duration
	for line := range strings.Lines(log.String()) {
		var m struct {
			Level, Msg, Error, Remedy string
			Halted                    time.Duration `json:"halted_for"`
		}
		if err := json.Unmarshal([]byte(line), &m); err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(m.Msg, "halted") {
			continue
		}
		at = append(at, m.Halted)
		for _, part := range remedy {
			if !strings.Contains(m.Error+m.Remedy, part) {
				t.Errorf("%q, with the remedy %q, does not say %q", m.Error, m.Remedy, part)
			}
		}
		if fenced := strings.Contains(m.Error, shipper.ErrFenced.Error()); m.Level != "ERROR" || m.Error == "" || fenced != (m.Remedy != "") {
			t.Errorf("%s", line)
		}
	}
	var want []time.Duration
	for _, minutes := range []time.Duration{0, 1, 3, 7, 15, 25, 35, 45, 55} {
		want = append(want, minutes*time.Minute)
	}
	if !slices.Equal(at, want) {
		t.Errorf("the halt was logged after %v, want %v", at, want)
	}
}
