package reader_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/url"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ncruces/go-sqlite3"
	"go.uber.org/goleak"

	"github.com/walvfs/walvfs/format"
	"github.com/walvfs/walvfs/shipper"
	"github.com/walvfs/walvfs/shipper/replica"
	"github.com/walvfs/walvfs/shipper/storage"
	"github.com/walvfs/walvfs/shipper/storage/storagetest"
	"github.com/walvfs/walvfs/vfs"
	"github.com/walvfs/walvfs/vfs/internal/dbtest"
	"github.com/walvfs/walvfs/vfs/reader"
)

func init() {
	// A VFS that makes files of all levels within the time of a test.
	vfs.Register("replicated-fast", vfs.Options{Policy: shipper.Policy{
		Levels:    []time.Duration{10 * time.Millisecond, 40 * time.Millisecond, 100 * time.Millisecond},
		Snapshots: 150 * time.Millisecond,
		Retention: vfs.Off,
	}})
	reader.Register("replica-impatient", reader.Options{Timeout: 300 * time.Millisecond, Interval: -1})
}

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// uri returns the URI of a replica to read.
func uri(store fmt.Stringer, params ...string) string {
	u := "file:copy.db?vfs=replica&replica=" + url.QueryEscape(store.String())
	if !strings.Contains(strings.Join(params, "&"), "interval=") {
		params = append(params, "interval=0s")
	}
	return strings.Join(append([]string{u}, params...), "&")
}

// A writer is a replicated application.
type writer struct {
	*sqlite3.Conn
	t     *testing.T
	uri   string
	path  string
	store storage.Store
	rng   *rand.Rand
}

func newWriter(t *testing.T, store *storagetest.Memory, pageSize int) *writer {
	t.Helper()
	path := filepath.Join(t.TempDir(), "app.db")
	bank := strings.Replace(dbtest.URI(path, store), "vfs=replicated&", "vfs=replicated-fast&", 1)
	w := &writer{dbtest.Open(t, bank), t, bank, path, store, rand.New(rand.NewPCG(1, uint64(pageSize)))}
	dbtest.Exec(t, w.Conn, fmt.Sprintf("PRAGMA page_size=%d", pageSize), "PRAGMA auto_vacuum=incremental")
	dbtest.Exec(t, w.Conn, dbtest.BankSchema...)
	return w
}

// commit makes n commits, each with its own TXID.
func (w *writer) commit(n int) format.TXID {
	w.t.Helper()
	for range n {
		if err := dbtest.Transact(w.Conn, w.rng, "w"); !dbtest.Expected(err) {
			w.t.Fatal(err)
		}
		if err := dbtest.Maintain(w.Conn, w.rng); !dbtest.Expected(err) {
			w.t.Fatal(err)
		}
		dbtest.Settled(w.t, w.path)
	}
	return dbtest.Settled(w.t, w.path)
}

// close closes everything that the writer has opened.
func (w *writer) close() {
	w.t.Helper()
	if err := w.Conn.Close(); err != nil {
		w.t.Fatal(err)
	}
}

// reopen continues after close.
func (w *writer) reopen() {
	w.t.Helper()
	w.Conn = dbtest.Open(w.t, w.uri)
}

// compact makes files of higher levels.
func (w *writer) compact() {
	w.t.Helper()
	if err := dbtest.Compact(w.t.Context(), w.path); err != nil {
		w.t.Fatal(err)
	}
}

// levels commits until the replica has files of all kinds: raw, compacted, snapshots.
func (w *writer) levels() {
	w.t.Helper()
	dbtest.Eventually(w.t, "there are files of all kinds", func() bool {
		w.commit(8)
		w.compact()
		n := map[int]int{}
		for _, f := range files(w.t, w.store) {
			n[f.Level]++
		}
		return n[0] > 20 && n[1] > 0 && n[2] > 0 && n[3] > 0 && n[9] > 1
	})
}

func files(t *testing.T, store storage.Store) replica.Files {
	t.Helper()
	files, err := replica.Collect(replica.New(store, replica.Options{}).List(t.Context(), 0))
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// requests counts the requests to a store, by operation.
type requests struct{ lists, opens atomic.Int64 }

func count(store *storagetest.Memory) *requests {
	var n requests
	store.SetBefore(func(_ context.Context, op, _ string) error {
		switch op {
		case "list":
			n.lists.Add(1)
		case "open":
			n.opens.Add(1)
		}
		return nil
	})
	return &n
}

func (r *requests) reset() { r.lists.Store(0); r.opens.Store(0) }

func (r *requests) String() string {
	return fmt.Sprintf("%d lists, %d opens", r.lists.Load(), r.opens.Load())
}
