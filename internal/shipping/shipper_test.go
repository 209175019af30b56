package shipping_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/walvfs/walvfs/format"
	"github.com/walvfs/walvfs/internal/shipping"
	"github.com/walvfs/walvfs/shipper"
	"github.com/walvfs/walvfs/shipper/storage"
	"github.com/walvfs/walvfs/shipper/storage/storagetest"
)

// newStore returns a store in a bucket of its own, which has not been probed yet.
func newStore(t testing.TB) *storagetest.Memory {
	return &storagetest.Memory{Name: rand.Text()}
}

var errStore = errors.New("the store does not answer")

// created counts the level files that a memory store creates.
func created(m *storagetest.Memory) *atomic.Int64 {
	n := new(atomic.Int64)
	m.After = func(_ context.Context, op, key string) error {
		if op == "create" && strings.HasSuffix(key, ".ltx") {
			n.Add(1)
		}
		return nil
	}
	return n
}

func drain(t *testing.T, s *shipping.Shipper) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
	defer cancel()
	if err := s.Drain(ctx); err != nil {
		t.Fatal(err)
	}
}

// The first commit after an idle period ships at once; after that, there is at most one
// upload per interval, and none without commits.
func TestInterval(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, db := newStore(t), newDB(3)
		n := created(store)
		s := shipping.New(db, store, shipping.Options{Interval: time.Second})
		defer s.Close()
		check := func(when string, want int64) {
			t.Helper()
			synctest.Wait()
			if got := n.Load(); got != want {
				t.Errorf("%s: %d uploads, want %d", when, got, want)
			}
		}
		s.Wake()
		check("at once", 1)
		for range 20 {
			db.commit(1)
			s.Wake()
			time.Sleep(10 * time.Millisecond)
		}
		check("during the interval", 1)
		time.Sleep(time.Second)
		check("after it", 2)
		time.Sleep(time.Hour)
		check("an hour later", 2)
		db.commit(2)
		s.Wake()
		check("the next commit", 3)
		db.commit(3)
		drain(t, s)
		check("drained", 4)
		requireSame(t, store, db)
	})
}

// Commits that arrive during an upload are in one cut.
func TestOneUploadInFlight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, db := newStore(t), newDB(5)
		var inFlight, most atomic.Int64
		store.Before = func(_ context.Context, op, key string) error {
			if op == "create" && strings.HasSuffix(key, ".ltx") {
				most.Store(max(most.Load(), inFlight.Add(1)))
				time.Sleep(100 * time.Millisecond)
				inFlight.Add(-1)
			}
			return nil
		}
		s := shipping.New(db, store, shipping.Options{})
		defer s.Close()
		for i := range uint32(100) {
			db.commit(i%5 + 1)
			s.Wake()
			time.Sleep(9 * time.Millisecond)
		}
		drain(t, s)
		if st := s.Status(); most.Load() != 1 || st.Uploads > 12 {
			t.Errorf("%d uploads, up to %d at a time", st.Uploads, most.Load())
		}
		requireSame(t, store, db)
	})
}

// An outage only takes time: retries back off, the log reports it a few times, and one
// upload catches up.
func TestOutage(t *testing.T) {
	for _, test := range []struct {
		name     string
		err      error
		mostDay  int64 // requests per day
		logLevel string
	}{
		{"unreachable", errStore, 24 * 3600 / 15, "WARN"},
		{"denied", storage.ErrPermission, 24 * 3600 / 15, "ERROR"},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				store, db := newStore(t), newDB(4)
				var log bytes.Buffer
				s := shipping.New(db, store, shipping.Options{Interval: time.Second, Logger: slog.New(slog.NewTextHandler(&log, nil))})
				defer s.Close()
				drain(t, s)
				var down atomic.Bool
				var tries atomic.Int64
				store.Before = func(context.Context, string, string) error {
					if down.Load() {
						tries.Add(1)
						return test.err
					}
					return nil
				}
				down.Store(true)
				for i := range uint32(24 * 60) {
					db.commit(i%4 + 1)
					s.Wake()
					time.Sleep(time.Minute)
				}
				if n := tries.Load(); n > test.mostDay || n < 1000 {
					t.Errorf("%d requests in a day", n)
				}
				if st := s.Status(); st.State != shipper.Retrying || !errors.Is(st.Err, test.err) || st.Lag < 23*time.Hour {
					t.Errorf("state %s, %v, lag %s", st.State, st.Err, st.Lag)
				}
				down.Store(false)
				time.Sleep(time.Minute)
				synctest.Wait()
				if st := s.Status(); st.State != shipper.Streaming || st.Lag != 0 || st.Tip.TXID != 3 {
					t.Errorf("state %s, lag %s, tip %s", st.State, st.Lag, st.Tip.TXID)
				}
				requireSame(t, store, db)
				// The first failure, failures after 1, 3, 7, … minutes, and the end.
				if n := strings.Count(log.String(), "\n"); n < 5 || n > 13 || !strings.Contains(log.String(), test.logLevel) {
					t.Errorf("%d lines in the log:\n%s", n, log.String())
				}
			})
		})
	}
}

// Times order as TXIDs do, even if the tip's time is a little in the future. If a clock
// that was far ahead made the tip, its time does not affect later files.
func TestTimestamps(t *testing.T) {
	for _, ahead := range []time.Duration{30 * time.Second, time.Hour} {
		synctest.Test(t, func(t *testing.T) {
			store, db := newStore(t), newDB(1)
			a := shipping.New(db, store, shipping.Options{})
			defer a.Close()
			time.Sleep(24 * time.Hour)
			drain(t, a)
			last := a.Status().Tip.Time
			for obj, err := range store.List(t.Context(), "", "") {
				if err != nil {
					t.Fatal(err)
				}
				shift(t, store, obj.Key, last.Add(ahead))
			}
			again := newDB(1)
			b := shipping.New(again, store, shipping.Options{})
			defer b.Close()
			if ahead < time.Minute {
				last = last.Add(ahead)
			}
			for range 3 {
				time.Sleep(time.Millisecond)
				again.commit(1)
				drain(t, b)
				if now := b.Status().Tip.Time; !now.After(last) || now.After(last.Add(2*time.Millisecond)) {
					t.Errorf("%s ahead: time %s after %s", ahead, now, last)
				} else {
					last = now
				}
			}
		})
	}
}

// shift rewrites an object with another time in its header.
func shift(t *testing.T, store storage.Store, key string, to time.Time) {
	t.Helper()
	r, attrs, err := store.Open(t.Context(), key, 0, -1)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	var b bytes.Buffer
	var enc *format.Encoder
	_, _, err = format.Decode(r, func(h format.LTXHeader, pgno uint32, page []byte) error {
		if enc == nil {
			h.Timestamp = to.UnixMilli()
			if enc, err = format.NewEncoder(&b, h); err != nil {
				return err
			}
		}
		return enc.Page(pgno, page)
	})
	if err == nil {
		_, err = enc.Close()
	}
	if err == nil {
		err = store.Delete(t.Context(), key)
	}
	if err == nil {
		err = store.Create(t.Context(), key, bytes.NewReader(b.Bytes()), attrs)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// Whichever operation fails, before or after it took effect, the replica ends up equal to
// the database, with each TXID once.
func TestEveryFault(t *testing.T) {
	for _, when := range []string{"before", "after"} {
		for n := 0; ; n++ {
			over := true
			t.Run(fmt.Sprintf("%s operation %d", when, n), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					store, db := newStore(t), newDB(3)
					var count atomic.Int64
					hook := func(context.Context, string, string) error {
						if count.Add(1)-1 == int64(n) {
							return errStore
						}
						return nil
					}
					if when == "before" {
						store.Before = hook
					} else {
						store.After = hook
					}
					s := shipping.New(db, store, shipping.Options{})
					defer s.Close()
					for i := range uint32(3) {
						db.commit(i + 1)
						drain(t, s)
					}
					over = count.Load() <= int64(n)
					store.Before, store.After = nil, nil
					requireSame(t, store, db)
				})
			})
			if over {
				t.Logf("%d operations", n)
				break
			}
		}
	}
}

// A failed cut is retried.
func TestFailedCut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, db := newStore(t), newDB(1)
		fails := 5
		db.cutErr = func() error {
			if fails > 0 {
				fails--
				return io.ErrUnexpectedEOF
			}
			return nil
		}
		s := shipping.New(db, store, shipping.Options{})
		defer s.Close()
		drain(t, s)
		requireSame(t, store, db)
	})
}

// The shipper does not write to a store that cannot tell two writers apart.
func TestNoFencing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, db := newStore(t), newDB(1)
		s := shipping.New(db, overwriting{store}, shipping.Options{})
		defer s.Close()
		if err := s.Drain(t.Context()); !errors.Is(err, shipper.ErrNoFencing) {
			t.Error(err)
		}
		for obj := range store.List(t.Context(), "", "") {
			t.Errorf("%s is left", obj.Key)
		}
	})
}

// overwriting is a store that ignores the condition of a create.
type overwriting struct{ *storagetest.Memory }

func (o overwriting) Create(ctx context.Context, key string, body storage.Body, attrs storage.Attrs) error {
	if err := o.Delete(ctx, key); err != nil {
		return err
	}
	return o.Memory.Create(ctx, key, body, attrs)
}

func create(t *testing.T, store storage.Store, f format.FileInfo) {
	t.Helper()
	var b bytes.Buffer
	enc, err := format.NewEncoder(&b, format.LTXHeader{PageSize: pageSize, Commit: 1, MinTXID: f.MinTXID, MaxTXID: f.MaxTXID, Timestamp: int64(f.MaxTXID)})
	if err == nil {
		err = enc.Page(1, make([]byte, pageSize))
	}
	if err == nil {
		_, err = enc.Close()
	}
	if err == nil {
		err = store.Create(t.Context(), store.Layout().Key(f.Level, f.MinTXID, f.MaxTXID), bytes.NewReader(b.Bytes()), storage.Attrs{})
	}
	if err != nil {
		t.Fatal(err)
	}
}

// A file too large for memory is written to a temporary file, and leaves nothing behind.
func TestSpool(t *testing.T) {
	store, db, dir := newStore(t), newDB(12_000), t.TempDir()
	db.noise = true
	s := shipping.New(db, store, shipping.Options{SpoolDir: dir})
	defer s.Close()
	drain(t, s)
	if st := s.Status(); st.Bytes < 5<<20 {
		t.Fatalf("the file has %d bytes, which fit into memory", st.Bytes)
	}
	requireSame(t, store, db)
	requireEmpty(t, dir)
}

// Wake costs the application almost nothing.
func BenchmarkWake(b *testing.B) {
	store, db := newStore(b), newDB(1)
	s := shipping.New(db, store, shipping.Options{Interval: time.Hour})
	defer s.Close()
	if err := s.Drain(context.Background()); err != nil {
		b.Fatal(err)
	}
	db.commit(1)
	b.ReportAllocs()
	for b.Loop() {
		s.Wake()
	}
}
