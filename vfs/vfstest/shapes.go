package vfstest

import (
	"fmt"
	"path/filepath"
	"testing"

	"github.com/ncruces/go-sqlite3"

	"github.com/walvfs/walvfs/shipper/storage/storagetest"
	"github.com/walvfs/walvfs/vfs/internal/dbtest"
)

// A shape is a database that is written in one particular way, with all its states.
type shape struct {
	t       *testing.T
	store   *storagetest.Memory
	path    string
	conn    *sqlite3.Conn
	commits []dbtest.Digest
	replica dbtest.Replayed
}

func newShape(t *testing.T, params ...string) *shape {
	t.Helper()
	s := &shape{t: t, store: dbtest.NewReplica(t), path: filepath.Join(dbtest.MemoryDir(t), "app.db")}
	s.conn = dbtest.Open(t, dbtest.URI(s.path, s.store, params...))
	return s
}

// begin makes the first commits, and waits for the upload of each before the next: the
// first commit puts the database into WAL mode.
func (s *shape) begin(sql ...string) {
	s.t.Helper()
	for _, q := range sql {
		dbtest.Exec(s.t, s.conn, q)
		dbtest.Settled(s.t, s.path)
		s.commits = append(s.commits, dbtest.LiveDigest(s.t, s.path))
	}
}

// do runs statements that commit at most once each.
func (s *shape) do(sql ...string) {
	s.t.Helper()
	for _, q := range sql {
		dbtest.Exec(s.t, s.conn, q)
		s.commits = append(s.commits, dbtest.LiveDigest(s.t, s.path))
	}
}

// ship waits for the replica and compares.
func (s *shape) ship(label string) {
	s.t.Helper()
	dbtest.Settled(s.t, s.path)
	s.replica.RequireTip(s.t, s.store, s.path, label)
	s.replica.RequireCommits(s.t, s.commits, label)
}

// end closes the database and restores it.
func (s *shape) end() {
	s.t.Helper()
	if err := s.conn.Close(); err != nil {
		s.t.Error(err)
	}
	dbtest.RequireEqual(s.t, s.store, s.path)
	_, conn := dbtest.Restored(s.t, s.store, 0)
	conn.Close()
}

// testShapes: however a database looks and changes its size, each TXID is one of its
// states.
func testShapes(t *testing.T) {
	for size := 512; size <= 65536; size *= 2 {
		for _, vacuum := range []string{"none", "full", "incremental"} {
			t.Run(fmt.Sprintf("%d,%s", size, vacuum), func(t *testing.T) {
				s := newShape(t, "_pragma=synchronous(off)")
				dbtest.Exec(t, s.conn, fmt.Sprintf("PRAGMA page_size=%d", size))
				s.begin("PRAGMA auto_vacuum="+vacuum, "CREATE TABLE t (x)")
				rows := min(400_000/size, 200) // about 400 kB, or 200 pages
				s.do(fmt.Sprintf("INSERT INTO t SELECT randomblob(%d) FROM generate_series(1, %d)", size*4/5, rows))
				s.ship("grown")
				s.do("PRAGMA user_version=7")
				s.ship("only the header")
				s.do(fmt.Sprintf("DELETE FROM t WHERE rowid > %d", rows/2))
				s.ship("shrunk")
				s.do("PRAGMA incremental_vacuum(5)", "PRAGMA incremental_vacuum")
				s.ship("vacuumed in part")
				s.do("PRAGMA cache_size=10", fmt.Sprintf("UPDATE t SET x = randomblob(%d)", size*3/5))
				s.ship("larger than the page cache")
				dbtest.Exec(t, s.conn, "BEGIN", "DELETE FROM t", fmt.Sprintf("INSERT INTO t VALUES (zeroblob(%d))", size*30), "ROLLBACK")
				s.do(fmt.Sprintf("INSERT INTO t VALUES (zeroblob(%d))", size*60))
				s.ship("grown without writes")
				dbtest.Checkpoint(t, s.conn, sqlite3.CHECKPOINT_TRUNCATE)
				s.do("VACUUM")
				s.ship("vacuumed")
				dbtest.Checkpoint(t, s.conn, sqlite3.CHECKPOINT_FULL)
				s.do("DROP TABLE t", "VACUUM")
				s.ship("one page")
				s.do("CREATE TABLE t (x)", fmt.Sprintf("INSERT INTO t VALUES (randomblob(%d))", size*20))
				s.ship("grown again")
				dbtest.Down(s.store)
				s.do("DELETE FROM t", "VACUUM")
				dbtest.Checkpoint(t, s.conn, sqlite3.CHECKPOINT_TRUNCATE)
				s.do("PRAGMA cache_size=1000", fmt.Sprintf("BEGIN; INSERT INTO t VALUES (randomblob(%d)); DELETE FROM t; COMMIT", size*20))
				s.store.SetBefore(nil)
				dbtest.Hurried(t, s.path, "after an outage")
				s.ship("shrunk, and grown by pages that nobody writes")
				s.end()
			})
		}
	}
}
