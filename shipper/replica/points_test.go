package replica_test

import (
	"context"
	"errors"
	"io"
	"slices"
	"testing"
	"time"

	"github.com/walvfs/walvfs/format"
	"github.com/walvfs/walvfs/shipper/replica"
	"github.com/walvfs/walvfs/shipper/storage"
)

// points returns the points of a replica, and checks that they restore by their TXIDs
// and, unless a neighbouring file is damaged, by their times.
func points(t *testing.T, r *replica.Replica, files replica.Files, from, to time.Time) ([]format.TXID, []format.FileInfo) {
	t.Helper()
	txids, err := r.Between(t.Context(), files, from, to)
	if err != nil {
		t.Fatal(err)
	}
	all, bad, err := r.Points(t.Context(), files, txids)
	if err != nil {
		t.Fatal(err)
	}
	found := []format.TXID{}
	for _, p := range all {
		found = append(found, p.TXID)
		if _, err := r.Plan(t.Context(), replica.Target{TXID: p.TXID}); err != nil {
			t.Errorf("TXID %s: %v", p.TXID, err)
		}
		plan, err := r.Plan(t.Context(), replica.Target{Timestamp: p.Time})
		if len(bad) == 0 && (err != nil || plan.TXID() != p.TXID) {
			t.Errorf("TXID %s of %s is not the state of that time: %v, %v", p.TXID, p.Time, plan.Apply, err)
		}
	}
	return found, bad
}

func TestPoints(t *testing.T) {
	store, r := newReplica(t)
	files, err := r.Files(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	second := func(n int64) time.Time { return time.UnixMilli(n * 1_000_000) }
	for _, c := range []struct {
		from, to time.Time
		want     []format.TXID
	}{
		{time.Time{}, time.Time{}, []format.TXID{1, 2, 3, 4, 5, 6, 7, 8}},
		{second(3), second(5), []format.TXID{3, 4, 5}},
		{second(3).Add(1), second(5).Add(-1), []format.TXID{4}},
		{second(3).Add(1), second(4).Add(-1), nil},
		{time.Time{}, second(1).Add(-1), nil},
		{second(6), time.Time{}, []format.TXID{6, 7, 8}},
		{second(9), time.Time{}, nil},
		{second(5), second(4), nil},
		{second(7), time.Now().Add(time.Hour), []format.TXID{7, 8}},
		{time.Now().Add(time.Hour), time.Time{}, nil},
	} {
		if got, bad := points(t, r, files, c.from, c.to); !slices.Equal(got, c.want) || len(bad) > 0 {
			t.Errorf("from %s to %s: %v, want %v; %v", c.from, c.to, got, c.want, bad)
		}
	}

	// A missing or damaged file counts as not listed.
	key := func(level int, lo, hi format.TXID) string { return store.Layout().Key(level, lo, hi) }
	store.Delete(t.Context(), key(0, 4, 4)) // level 1 has it, too
	store.Delete(t.Context(), key(0, 3, 3))
	b := get(t, store, key(0, 6, 6))
	clear(b[:4])
	store.Delete(t.Context(), key(0, 6, 6))
	putAs(t, store, key(0, 6, 6), b)
	got, bad := points(t, r, files, time.Time{}, time.Time{})
	if !slices.Equal(got, []format.TXID{1, 2, 4, 5, 8}) {
		t.Errorf("without files: %v", got)
	}
	equal(t, "bad", bad, "0/3-3", "0/4-4", "0/6-6")
}

// A time after the newest TXID's comes from a clock that was ahead.
func TestPointsOfAClockThatWasAhead(t *testing.T) {
	store, r := newReplica(t)
	for _, txid := range []format.TXID{3, 4, 6} {
		key := store.Layout().Key(0, txid, txid)
		store.Delete(t.Context(), key)
		putAs(t, store, key, encodeAt(t, time.UnixMilli(50_000_000+int64(txid)), txid, txid, 100, 1))
	}
	files, err := r.Files(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	all, _, err := r.Points(t.Context(), files, files.Restorable())
	if err != nil {
		t.Fatal(err)
	}
	want := []int64{1, 2, 5, 5, 5, 7, 7, 8}
	for i, p := range all {
		if p.Time.UnixMilli() != want[i]*1_000_000 {
			t.Errorf("TXID %s is of %s, want %d", p.TXID, p.Time, want[i])
		}
	}
}

// An error of the store proves nothing about the files.
func TestPointsWithoutStore(t *testing.T) {
	store, r := newReplica(t)
	files, err := r.Files(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	broken := replica.New(brokenStore{store}, replica.Options{})
	if all, bad, err := broken.Points(t.Context(), files, files.Restorable()); err == nil {
		t.Errorf("no error, but %v and %v", all, bad)
	}
}

type brokenStore struct{ storage.Store }

func (brokenStore) Open(context.Context, string, int64, int64) (io.ReadCloser, storage.Attrs, error) {
	return nil, storage.Attrs{}, errors.New("no answer")
}
