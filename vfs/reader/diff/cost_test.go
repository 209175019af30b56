package diff_test

import (
	"context"
	"fmt"
	"io"
	"net/url"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ncruces/go-sqlite3"

	"github.com/walvfs/walvfs/format"
	"github.com/walvfs/walvfs/shipper/storage"
	"github.com/walvfs/walvfs/vfs/internal/dbtest"
	"github.com/walvfs/walvfs/vfs/reader/diff"
)

// The number of requests depends on the changes, not on the size of the tables:
// neighbouring rows share their pages, and each isolated row takes two pages, its leaf
// and the page above. The table has 5,000 leaves.
func TestCost(t *testing.T) {
	store := dbtest.NewReplica(t)
	h := newHistory(t, store, dbtest.MemoryDir(t))
	defer h.close()
	h.commit(
		"PRAGMA page_size=1024",
		"CREATE TABLE many (id INTEGER PRIMARY KEY, v)",
		"CREATE TABLE other (id INTEGER PRIMARY KEY, v)",
		"INSERT INTO many SELECT value, hex(randomblob(150)) FROM generate_series(1, 15000)",
		"INSERT INTO other SELECT value, hex(randomblob(150)) FROM generate_series(1, 15000)")
	var requests atomic.Int64
	store.SetBefore(dbtest.CountRequests(&requests))
	for _, c := range []struct {
		name string
		sql  string
		rows int
		most int64

		snapshot bool // the later state is a snapshot
	}{
		{"rows side by side", "UPDATE many SET v = 'x' || v WHERE id BETWEEN 5000 AND 5099", 100, 40, false},
		{"rows far from each other", "UPDATE many SET v = 'y' || v WHERE id % 300 = 0", 50, 130, false},
		{"rows of a new snapshot", "UPDATE many SET v = 'w' || v WHERE id % 300 = 1", 50, 150, true},
		{"rows at the end", "INSERT INTO many SELECT value, 'z' FROM generate_series(20001, 20100)", 100, 40, false},
		{"rows that are gone", "DELETE FROM many WHERE id BETWEEN 7000 AND 7099", 100, 40, false},
		{"rows of two tables", "DELETE FROM many WHERE id = 1; DELETE FROM other WHERE id = 15000", 2, 40, false},
	} {
		before := h.commit("PRAGMA user_version=1") // so that before is not the state read last
		after := h.commit(c.sql)
		if c.snapshot {
			h.put(format.LevelSnapshot, 1, after)
		}
		requests.Store(0)
		got := h.compare(before, after, nil)
		n := requests.Load()
		t.Logf("%s: %d requests", c.name, n)
		if rows := len(got.rows["many"]) + len(got.rows["other"]); rows != c.rows {
			t.Errorf("%s: %d rows, want %d", c.name, rows, c.rows)
		}
		if n > c.most || len(got.notes) > 0 {
			t.Errorf("%s: %d requests, want %d at most; notes %q", c.name, n, c.most, got.notes)
		}
	}
}

// An isolated row takes two requests: its old leaf, and the page above, which both states
// share. The index of the whole database has the places of these pages and is read once.
// No other pages are read ahead, although every second row is below the page that follows
// the parent of the row before, as in a scan. The b-tree of the table has three levels
// below its root, and 60,000 leaves.
func TestCostOfRowsFarApart(t *testing.T) {
	store := dbtest.NewReplica(t)
	h := newHistory(t, store, dbtest.MemoryDir(t))
	defer h.close()
	const rows = 100
	before := h.commit(
		"PRAGMA page_size=512",
		"CREATE TABLE item (id INTEGER PRIMARY KEY, data BLOB)",
		"INSERT INTO item SELECT value, randomblob(400) FROM generate_series(1, 60000)")
	after := h.commit("UPDATE item SET data = randomblob(400) WHERE id % 1200 IN (7, 62)")
	far := &farStore{Store: store, whole: store.Layout().Key(format.LevelSnapshot, 1, 1)}
	far.index = indexBegin(t, store, far.whole)
	synctest.Test(t, func(t *testing.T) { // in a bubble, requests take no real time
		alias := dbtest.NewAlias(t, far)
		var conns [2]*sqlite3.Conn
		for i, txid := range []format.TXID{before, after} {
			var err error
			conns[i], err = sqlite3.Open(fmt.Sprintf("file:%s.db?vfs=replica&replica=%s&txid=%s", txid, url.QueryEscape(alias.String()), txid))
			if err != nil {
				t.Fatal(err)
			}
			defer conns[i].Close()
		}
		begin := time.Now()
		d, err := diff.New(t.Context(), conns[0], conns[1], diff.Options{})
		if err != nil {
			t.Fatal(err)
		}
		n := 0
		if err := d.Rows(t.Context(), d.Tables[0], func(diff.Change) error { n++; return nil }); err != nil || n != rows {
			t.Fatalf("%d rows, want %d: %v", n, rows, err)
		}
		t.Logf("%d requests, %d of them for the index, in %s", far.requests.Load(), far.parts.Load(), time.Since(begin))
		if n, most := far.requests.Load(), int64(2*rows+30); n > most {
			t.Errorf("%d requests, want %d at most", n, most)
		}
		if n, most := far.parts.Load(), int64(3); n > most { // one as it opens, then two for all of it: its end first
			t.Errorf("%d requests for the index, want %d at most", n, most)
		}
	})
}

// A farStore answers each request after 30 ms, and sends 50 bytes each microsecond.
type farStore struct {
	storage.Store
	whole    string // the key of the whole database
	index    int64  // where the index of that file begins
	requests atomic.Int64
	parts    atomic.Int64 // requests for parts of the index
}

func (s *farStore) Open(ctx context.Context, key string, offset, length int64) (io.ReadCloser, storage.Attrs, error) {
	s.requests.Add(1)
	if key == s.whole && offset >= s.index {
		s.parts.Add(1)
	}
	time.Sleep(30*time.Millisecond + time.Duration(max(0, length)/50)*time.Microsecond)
	return s.Store.Open(ctx, key, offset, length)
}

// indexBegin returns where the page index of a file begins.
func indexBegin(t *testing.T, store storage.Store, key string) int64 {
	t.Helper()
	body, _, err := store.Open(t.Context(), key, 0, -1)
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(body)
	if err != nil {
		t.Fatal(err)
	}
	size, err := format.PageIndexSize(b[len(b)-format.PageIndexTail:], int64(len(b)))
	if err != nil {
		t.Fatal(err)
	}
	return int64(len(b)) - format.PageIndexTail - size
}
