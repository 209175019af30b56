package shipping_test

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/walvfs/walvfs/format"
	"github.com/walvfs/walvfs/internal/shipping"
	"github.com/walvfs/walvfs/shipper"
)

// A logFunc is a logger that runs a function for each message.
type logFunc func(message string)

func (f logFunc) Enabled(context.Context, slog.Level) bool { return true }
func (f logFunc) WithAttrs([]slog.Attr) slog.Handler       { return f }
func (f logFunc) WithGroup(string) slog.Handler            { return f }
func (f logFunc) Handle(_ context.Context, r slog.Record) error {
	f(r.Message)
	return nil
}

// The shipper holds none of its locks while it calls a logger or a listener.
func TestCalledWithoutLocks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, db := newStore(t), newDB(3)
		var s *shipping.Shipper
		var calls sync.Map
		called := func(what any) {
			calls.Store(what, true)
			if held := s.HeldLocks(); len(held) > 0 {
				t.Errorf("%v: %v held", what, held)
			}
		}
		s = shipping.New(db, store, shipping.Options{
			Policy: shipping.Policy{Levels: []time.Duration{30 * time.Second}, Snapshots: time.Hour, KeepRaw: 5 * time.Minute, Keep: time.Hour},
			Logger: slog.New(logFunc(func(m string) { called(m) })),
			Events: func(e shipper.Event) {
				switch e := e.(type) {
				case shipper.StateChanged:
					called(e.To)
				case shipper.Deleted:
					called("deleted")
				default:
					called("event")
				}
			},
		})
		defer s.Close()
		for i := range 300 {
			switch i % 100 {
			case 0:
				outage(store, errStore)
				db.readFaults.Store(2)
			case 50, 51, 52, 53:
				store.SetBefore(func(_ context.Context, _, key string) error {
					if f, ok := store.Layout().Parse(key); ok && f.Level > 0 {
						return errStore
					}
					return nil
				})
			}
			db.commit(uint32(i%3 + 1))
			s.Wake()
			time.Sleep(30 * time.Second)
			db.readFaults.Store(0)
			store.SetBefore(nil)
		}
		drain(t, s)
		tip := s.Tip().TXID
		create(t, store, format.FileInfo{MinTXID: tip + 1, MaxTXID: tip + 1})
		db.commit(1)
		if err := s.Drain(t.Context()); !errors.Is(err, shipper.ErrFenced) {
			t.Fatal(err)
		}
		for _, what := range []any{
			shipper.Streaming, shipper.Retrying, shipper.Halted, "deleted", "event", "shipped", "compacted", "deleted expired files",
			"replication failed and will be tried again", "replication resumed", "replication halted; the application keeps running without it",
			"failed and will be tried again; commits do not wait for it",
		} {
			if _, ok := calls.Load(what); !ok {
				t.Errorf("nothing was said of: %v", what)
			}
		}
	})
}
