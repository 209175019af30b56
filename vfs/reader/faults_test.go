package reader_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ncruces/go-sqlite3"
	"golang.org/x/sync/errgroup"

	"github.com/walvfs/walvfs/shipper/storage"
	"github.com/walvfs/walvfs/vfs/internal/dbtest"
	"github.com/walvfs/walvfs/vfs/reader"
)

func init() {
	reader.Register("replica-faults", reader.Options{Timeout: 200 * time.Millisecond, Interval: -1})
}

// A faulty store mishandles one request.
type faulty struct {
	storage.Store
	fault string

	mu   sync.Mutex
	left int // requests before the faulty one
}

func (f *faulty) wrong() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.left--
	return f.left == -1
}

// happened reports whether a request was mishandled.
func (f *faulty) happened() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.left < 0
}

func (f *faulty) List(ctx context.Context, prefix, after string) iter.Seq2[storage.Object, error] {
	if !f.wrong() {
		return f.Store.List(ctx, prefix, after)
	}
	return func(yield func(storage.Object, error) bool) {
		err := dbtest.ErrInjected
		if f.fault == "hang" || f.fault == "stall" {
			<-ctx.Done()
			err = ctx.Err()
		}
		yield(storage.Object{}, &storage.Error{Op: "list", URL: f.String(), Err: err})
	}
}

func (f *faulty) Open(ctx context.Context, key string, offset, length int64) (io.ReadCloser, storage.Attrs, error) {
	if !f.wrong() {
		return f.Store.Open(ctx, key, offset, length)
	}
	switch f.fault {
	case "hang":
		<-ctx.Done()
		return nil, storage.Attrs{}, &storage.Error{Op: "open", URL: f.String(), Key: key, Err: ctx.Err()}
	case "missing":
		return nil, storage.Attrs{}, &storage.Error{Op: "open", URL: f.String(), Key: key, Err: storage.ErrNotExist}
	case "fail":
		return nil, storage.Attrs{}, &storage.Error{Op: "open", URL: f.String(), Key: key, Err: dbtest.ErrInjected}
	}
	body, attrs, err := f.Store.Open(ctx, key, offset, length)
	if err != nil {
		return nil, attrs, err
	}
	b, err := io.ReadAll(body)
	if err != nil {
		return nil, attrs, err
	}
	switch f.fault {
	case "short":
		b = b[:len(b)/2]
	case "stall":
		return io.NopCloser(io.MultiReader(bytes.NewReader(b[:len(b)/2]), stalled{ctx})), attrs, nil
	default:
		for i := range b {
			b[i] = byte(rand.Uint32())
		}
	}
	return io.NopCloser(bytes.NewReader(b)), attrs, nil
}

// stalled returns nothing until its request ends.
type stalled struct{ ctx context.Context }

func (s stalled) Read([]byte) (int, error) {
	<-s.ctx.Done()
	return 0, s.ctx.Err()
}

// Whatever fault hits whichever request, an open, a query and a move to a newer state
// return committed data, or fail. Afterwards, the same operations succeed.
func TestEveryRequestFails(t *testing.T) {
	store := dbtest.NewReplica(t)
	w := newWriter(t, store, 1024)
	w.commit(12)
	dbtest.Exec(t, w.Conn, "INSERT INTO pad SELECT NULL, randomblob(400) FROM generate_series(1, 400)") // a large file
	w.commit(1)
	w.compact()
	w.commit(2)
	w.close()
	all := files(t, store)
	tip := all.Newest()
	points := all.Restorable()
	before := points[len(points)/2]
	want := map[string]string{}
	const sum = "SELECT group_concat(n || who) || (SELECT sum(balance * id) FROM account) || (SELECT count(*) || max(data) FROM pad) FROM journal"
	for _, txid := range []string{tip.String(), before.String()} {
		conn := dbtest.Open(t, uri(store, "txid="+txid))
		want[txid] = dbtest.Query(t, conn, sum)
	}
	// breaks reports whether an n-th request existed, which was faulty.
	breaks := func(fault string, n int) (happened, failed bool, err error) {
		f := &faulty{Store: store, fault: fault, left: n}
		name := fmt.Sprintf("faulty-%s-%d", fault, n)
		dbtest.Memories.Store(name, f)
		defer dbtest.Memories.Delete(name)
		open := strings.Replace(uri(dbtest.ReplicaURL("memory://"+name)), "vfs=replica&", "vfs=replica-faults&", 1)
		err = work(open, before.String(), tip.String(), want, sum)
		happened, failed = f.happened(), err != nil
		for try := 1; err != nil && !errors.Is(err, errWrong); try++ { // a slow machine may get no answer in time
			if err = work(open, before.String(), tip.String(), want, sum); err != nil && try == 20 {
				return happened, failed, fmt.Errorf("after it: %w", err)
			}
		}
		return happened, failed, err
	}
	for fault, atOnce := range map[string]int{"fail": 15, "missing": 1, "hang": 15, "stall": 15, "short": 15, "garbage": 1} { // the faults that wait for timeouts or retries
		t.Run(fault, func(t *testing.T) {
			t.Parallel()
			var failures atomic.Int64
			for n, over := 0, new(atomic.Bool); !over.Load(); n += atOnce {
				var g errgroup.Group
				for i := range atOnce {
					g.Go(func() error {
						n := n + i
						happened, failed, err := breaks(fault, n)
						if !happened {
							over.Store(true)
						}
						if failed {
							failures.Add(1)
						}
						if err != nil {
							return fmt.Errorf("request %d: %w", n, err)
						}
						return nil
					})
				}
				if err := g.Wait(); err != nil {
					t.Fatal(err)
				}
				if over.Load() {
					t.Logf("up to %d requests, %d failures", n+atOnce, failures.Load())
				}
			}
		})
	}
}

var errWrong = errors.New("not what was committed")

// work opens a replica at its newest state, reads, moves to another moment, and reads.
func work(open, before, tip string, want map[string]string, sum string) error {
	conn, err := sqlite3.Open(open)
	if err != nil {
		return err
	}
	defer conn.Close()
	for _, step := range []struct{ move, at string }{{"", tip}, {"PRAGMA walvfs_txid='" + before + "'", before}, {"PRAGMA walvfs_txid=latest", tip}} {
		if err := conn.Exec(step.move); err != nil {
			return err
		}
		got, err := text(conn, sum)
		if err != nil {
			return err
		}
		if got != want[step.at] {
			return fmt.Errorf("%w: TXID %s", errWrong, step.at)
		}
	}
	return nil
}

// Files that a transaction reads are compacted and deleted: it continues with other files
// that lead to its TXID.
func TestFilesGoAway(t *testing.T) {
	store := dbtest.NewReplica(t)
	w := newWriter(t, store, 4096)
	w.commit(1)
	dbtest.Exec(t, w.Conn, "INSERT INTO pad SELECT NULL, randomblob(900) FROM generate_series(1, 3000)")
	w.commit(5)
	dbtest.Exec(t, w.Conn, "UPDATE pad SET data = randomblob(900) WHERE id % 3 = 0")
	w.commit(1)
	tip := w.commit(1)
	conn := dbtest.Open(t, uri(store, "cache_memory=1MiB"))
	dbtest.Exec(t, conn, "BEGIN")
	dbtest.Query(t, conn, "SELECT count(*) FROM account")
	at := dbtest.Query(t, conn, "PRAGMA walvfs_txid")
	want := dbtest.Query(t, w.Conn, "SELECT count(*) || sum(length(data)) || max(data) FROM pad")
	dbtest.Eventually(t, "a compacted file leads to the TXID", func() bool {
		w.compact()
		for _, f := range files(t, store) {
			if f.Level > 0 && f.MaxTXID == tip {
				return true
			}
		}
		if tip.String() == at {
			time.Sleep(time.Millisecond)
		}
		return false
	})
	w.close()
	for _, f := range files(t, store) {
		if f.Level == 0 {
			if err := store.Delete(t.Context(), store.Layout().Key(0, f.MinTXID, f.MaxTXID)); err != nil {
				t.Fatal(err)
			}
		}
	}
	if got := dbtest.Query(t, conn, "SELECT count(*) || sum(length(data)) || max(data) FROM pad"); got != want {
		t.Error("other rows after the files went away")
	}
	if got := dbtest.Query(t, conn, "PRAGMA walvfs_txid"); got != at {
		t.Errorf("TXID %s after %s", got, at)
	}
	dbtest.Exec(t, conn, "COMMIT")

	// If no other files lead to the TXID, a read fails, and names the missing file.
	lost := dbtest.Open(t, uri(store, "interval=1h", "cache_memory=1MiB"))
	dbtest.Exec(t, lost, "BEGIN")
	for _, f := range files(t, store) {
		store.Delete(t.Context(), store.Layout().Key(f.Level, f.MinTXID, f.MaxTXID))
	}
	err := lost.Exec("SELECT max(data) FROM pad")
	if !errors.Is(err, sqlite3.IOERR_READ) {
		t.Errorf("a read of a replica that is gone: %v", err)
	}
	if got := dbtest.Query(t, lost, "PRAGMA walvfs_error"); !strings.Contains(got, ".ltx") || !strings.Contains(got, "no other files lead to TXID") {
		t.Errorf("it failed because of: %s", got)
	}
}
