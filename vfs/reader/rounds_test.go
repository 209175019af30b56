package reader_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ncruces/go-sqlite3"

	"github.com/walvfs/walvfs/format"
	"github.com/walvfs/walvfs/shipper/storage"
	"github.com/walvfs/walvfs/shipper/storage/storagetest"
	"github.com/walvfs/walvfs/vfs/internal/dbtest"
)

// latency is the latency of each request to a far replica, in the virtual time of a
// bubble. Everything else takes no time, so the time shows the number of consecutive
// requests.
const latency = 30 * time.Millisecond

// A farReplica is a snapshot of a database whose index has many windows, and a file for
// each of several later commits.
type farReplica struct {
	store *storagetest.Memory
	path  string // of the database
	rows  int    // of table item
	pages []byte // of the database, as last uploaded
	txid  format.TXID
}

const farPageSize = 512

// newFarReplica makes a replica of tables whose schema and pages are scattered over the
// database.
func newFarReplica(t *testing.T, commits int) *farReplica {
	t.Helper()
	r := &farReplica{store: dbtest.NewReplica(t), path: filepath.Join(t.TempDir(), "far.db")}
	conn := dbtest.Open(t, "file:"+r.path)
	dbtest.Exec(t, conn, fmt.Sprintf("PRAGMA page_size=%d", farPageSize), "PRAGMA journal_mode=off", "PRAGMA synchronous=off", "PRAGMA cache_size=-50000",
		"CREATE TABLE item (id INTEGER PRIMARY KEY, data BLOB)")
	for i := range 60 {
		dbtest.Exec(t, conn, "INSERT INTO item SELECT NULL, zeroblob(200) FROM generate_series(1, 1000)",
			fmt.Sprintf("CREATE TABLE further_%d (%s)", i, strings.Repeat("x", 200)))
		r.rows += 1000
	}
	r.upload(t, format.LevelSnapshot)
	for i := range commits {
		dbtest.Exec(t, conn, fmt.Sprintf("UPDATE item SET data = zeroblob(199) WHERE id %% 400 = %d", i))
		r.upload(t, format.LevelRaw)
	}
	return r
}

// upload uploads the pages that changed since the last upload.
func (r *farReplica) upload(t *testing.T, level int) {
	t.Helper()
	b, err := os.ReadFile(r.path)
	if err != nil {
		t.Fatal(err)
	}
	r.txid++
	var out bytes.Buffer
	enc, err := format.NewEncoder(&out, format.LTXHeader{PageSize: farPageSize, Commit: uint32(len(b) / farPageSize), MinTXID: r.txid, MaxTXID: r.txid, Timestamp: int64(r.txid)})
	if err != nil {
		t.Fatal(err)
	}
	for at := 0; at < len(b); at += farPageSize {
		page := b[at : at+farPageSize]
		if at < len(r.pages) && bytes.Equal(page, r.pages[at:at+farPageSize]) {
			continue
		}
		if err := enc.Page(uint32(at/farPageSize)+1, page); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := enc.Close(); err != nil {
		t.Fatal(err)
	}
	key := r.store.Layout().Key(level, r.txid, r.txid)
	if err := r.store.Create(t.Context(), key, bytes.NewReader(out.Bytes()), storage.Attrs{Time: time.UnixMilli(int64(r.txid))}); err != nil {
		t.Fatal(err)
	}
	r.pages = b
}

// A farReader opens the replica and counts the cost.
type farReader struct {
	*sqlite3.Conn
	t *testing.T
	n *requests
}

func (r *farReplica) open(t *testing.T, params ...string) *farReader {
	n := count(r.store)
	counted := r.store.Before
	r.store.SetBefore(func(ctx context.Context, op, key string) error {
		time.Sleep(latency)
		return counted(ctx, op, key)
	})
	return &farReader{dbtest.Open(t, uri(r.store, append(params, "interval=1h")...)), t, n}
}

// expect runs a query, reports an error if it takes more rounds or requests, and returns
// its answer.
func (r *farReader) expect(what, sql string, rounds, opens int64) string {
	r.t.Helper()
	r.n.reset()
	begin := time.Now()
	answer := dbtest.Query(r.t, r.Conn, sql)
	took := int64(time.Since(begin) / latency)
	if n := r.n.opens.Load(); took > rounds || n > opens {
		r.t.Errorf("%s: %d rounds, %d requests, want %d and %d at most", what, took, n, rounds, opens)
	}
	r.t.Logf("%s: %d rounds, %s", what, took, r.n)
	time.Sleep(time.Second) // the work in the background ends
	return answer
}

// The files of a replica are read concurrently, and the pages of a schema are fetched
// concurrently, with the windows of the index that have their places, wherever these
// pages are.
func TestRoundsOfAnOpen(t *testing.T) {
	r := newFarReplica(t, 40)
	synctest.Test(t, func(t *testing.T) {
		begin := time.Now()
		conn := r.open(t)
		dbtest.Query(t, conn.Conn, "SELECT data IS NULL FROM item WHERE id = 35000")
		// The listing, the files, windows and pages of the schema, then windows and pages of
		// the table's root, of interior pages and of the row.
		if took := int64(time.Since(begin) / latency); took > 11 {
			t.Errorf("%d rounds, %s", took, conn.n)
		} else {
			t.Logf("%d rounds, %s", took, conn.n)
		}
	})
}

// Rows in the order of a key take few rounds and requests, however many files changed
// pages in between.
func TestRoundsOfRowsInOrder(t *testing.T) {
	r := newFarReplica(t, 20)
	synctest.Test(t, func(t *testing.T) {
		conn := r.open(t)
		dbtest.Query(t, conn.Conn, "SELECT 1 FROM item")
		time.Sleep(time.Second) // the index is loaded
		conn.expect("some rows", "SELECT sum(length(data)) FROM (SELECT data FROM item WHERE id > 30000 LIMIT 700)", 7, 16)
		const sum = "SELECT count(*), sum(length(data)) FROM item"
		if got, want := conn.expect("all rows", sum, 45, 120), dbtest.Query(t, dbtest.Open(t, "file:"+r.path), sum); got != want {
			t.Errorf("%s, want %s", got, want)
		}
	})
}

// A scan that is longer than the cache does not drop pages that were read before it.
func TestLongScansKeepTheCache(t *testing.T) {
	r := newFarReplica(t, 1)
	synctest.Test(t, func(t *testing.T) {
		conn := r.open(t, "cache_memory=1MiB")
		const rows = "SELECT count(*) FROM further_30"
		dbtest.Query(t, conn.Conn, rows)
		dbtest.Query(t, conn.Conn, "SELECT sum(length(data)) FROM item")
		time.Sleep(time.Second) // the work in the background ends
		conn.expect("rows that were read before", rows, 0, 0)
	})
}

// Another moment whose files a connection already has costs only the listing: the times
// of these files are known.
func TestRoundsOfAnotherMoment(t *testing.T) {
	r := newFarReplica(t, 40)
	synctest.Test(t, func(t *testing.T) {
		conn := r.open(t)
		dbtest.Query(t, conn.Conn, "SELECT 1 FROM item")
		time.Sleep(time.Second) // the work in the background ends
		move := fmt.Sprintf("PRAGMA walvfs_time='%s'", time.UnixMilli(20).UTC().Format(time.RFC3339Nano))
		conn.expect("another moment", move, 1, 0)
		if got := dbtest.Query(t, conn.Conn, "PRAGMA walvfs_txid"); got != format.TXID(20).String() {
			t.Errorf("it is TXID %s", got)
		}
	})
}
