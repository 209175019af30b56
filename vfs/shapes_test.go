package vfs_test

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"
	"testing"
	"time"

	"github.com/ncruces/go-sqlite3"

	"github.com/walvfs/walvfs/format"
	"github.com/walvfs/walvfs/shipper/restore"
	"github.com/walvfs/walvfs/shipper/storage/storagetest"
	"github.com/walvfs/walvfs/vfs"
)

// A shape is a database that is written to in one particular way, every state of
// which is remembered.
type shape struct {
	t       *testing.T
	store   *storagetest.Memory
	path    string
	conn    *sqlite3.Conn
	commits []digest
	replica replayed
}

func newShape(t *testing.T, params ...string) *shape {
	t.Helper()
	return newShapeIn(t, powerDir(t), params...)
}

func newShapeIn(t *testing.T, dir string, params ...string) *shape {
	t.Helper()
	s := &shape{t: t, store: newReplica(t), path: filepath.Join(dir, "app.db")}
	s.conn = open(t, strings.Replace(uri(s.path, s.store, params...), "vfs=replicated&", "vfs=replicated-power&", 1))
	return s
}

// begin makes the first commits, each of which is shipped before the next: the
// first one has the database put into WAL mode.
func (s *shape) begin(sql ...string) {
	s.t.Helper()
	for _, q := range sql {
		exec(s.t, s.conn, q)
		settled(s.t, s.path)
		s.commits = append(s.commits, liveDigest(s.t, s.path))
	}
}

// do runs statements that commit at most once each.
func (s *shape) do(sql ...string) {
	s.t.Helper()
	for _, q := range sql {
		exec(s.t, s.conn, q)
		s.commits = append(s.commits, liveDigest(s.t, s.path))
	}
}

// ship waits for the replica and compares.
func (s *shape) ship(label string) {
	s.t.Helper()
	settled(s.t, s.path)
	s.replica.requireTip(s.t, s.store, s.path, label)
	s.replica.requireCommits(s.t, s.commits, label)
}

// end closes the database and restores it.
func (s *shape) end() {
	s.t.Helper()
	if err := s.conn.Close(); err != nil {
		s.t.Error(err)
	}
	requireEqual(s.t, s.store, s.path)
	_, conn := restored(s.t, s.store, 0)
	conn.Close()
}

// TestShapes: whatever a database looks like and however it changes its size, each
// TXID is one of its states.
func TestShapes(t *testing.T) {
	for size := 512; size <= 65536; size *= 2 {
		for _, vacuum := range []string{"none", "full", "incremental"} {
			t.Run(fmt.Sprintf("%d,%s", size, vacuum), func(t *testing.T) {
				s := newShape(t, "_pragma=synchronous(off)")
				exec(t, s.conn, fmt.Sprintf("PRAGMA page_size=%d", size))
				s.begin("PRAGMA auto_vacuum="+vacuum, "CREATE TABLE t (x)")
				rows := min(400_000/size, 200) // 400 kB or so, or 200 pages
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
				exec(t, s.conn, "BEGIN", "DELETE FROM t", fmt.Sprintf("INSERT INTO t VALUES (zeroblob(%d))", size*30), "ROLLBACK")
				s.do(fmt.Sprintf("INSERT INTO t VALUES (zeroblob(%d))", size*60))
				s.ship("grown without writes")
				checkpoint(t, s.conn, sqlite3.CHECKPOINT_TRUNCATE)
				s.do("VACUUM")
				s.ship("vacuumed")
				checkpoint(t, s.conn, sqlite3.CHECKPOINT_FULL)
				s.do("DROP TABLE t", "VACUUM")
				s.ship("one page")
				s.do("CREATE TABLE t (x)", fmt.Sprintf("INSERT INTO t VALUES (randomblob(%d))", size*20))
				s.ship("grown again")
				down(s.store)
				s.do("DELETE FROM t", "VACUUM")
				checkpoint(t, s.conn, sqlite3.CHECKPOINT_TRUNCATE)
				s.do("PRAGMA cache_size=1000", fmt.Sprintf("BEGIN; INSERT INTO t VALUES (randomblob(%d)); DELETE FROM t; COMMIT", size*20))
				s.store.SetBefore(nil)
				hurried(t, s.path, "after an outage")
				s.ship("shrunk, and grown by pages that nobody writes")
				s.end()
			})
		}
	}
}

// TestSynchronous: the application's durability is its own affair.
func TestSynchronous(t *testing.T) {
	for _, params := range [][]string{
		{"_pragma=synchronous(off)"}, {"_pragma=synchronous(normal)"}, {"_pragma=synchronous(full)"}, {"_pragma=synchronous(extra)"},
		{"_pragma=synchronous(full)", "psow=0"}, {"_pragma=synchronous(off)", "psow=0"}, {"_pragma=synchronous(full)", "psow=0", "_pragma=cache_size(10)"},
		{"_pragma=secure_delete(on)"}, {"_pragma=mmap_size(10000000)"}, {"_pragma=cell_size_check(on)", "_pragma=fullfsync(on)"},
	} {
		t.Run(strings.Join(params, ","), func(t *testing.T) {
			s := newShape(t, append(params, "_pragma=wal_autocheckpoint(20)")...)
			s.begin("CREATE TABLE t (x)")
			for i := range 12 {
				s.do("INSERT INTO t SELECT randomblob(1000) FROM generate_series(1, 20)",
					fmt.Sprintf("DELETE FROM t WHERE rowid %% 7 = %d", i%7), "SAVEPOINT a; UPDATE t SET x = 1; ROLLBACK TO a; INSERT INTO t VALUES (1); RELEASE a")
				if i%3 == 0 {
					s.ship("shipped")
				}
			}
			s.ship("at last")
			s.end()
		})
	}
}

// TestBackupInto: SQLite's backup writes a whole database into a replicated one.
func TestBackupInto(t *testing.T) {
	source := filepath.Join(t.TempDir(), "source.db")
	plain := open(t, "file:"+source)
	exec(t, plain, "CREATE TABLE t (x)", manyRows)

	t.Run("from another", func(t *testing.T) {
		s := newShape(t)
		s.begin("CREATE TABLE old (x)")
		s.do("INSERT INTO old VALUES (zeroblob(3000000))")
		s.ship("before")
		if err := s.conn.Restore("main", "file:"+source); err != nil {
			t.Fatal(err)
		}
		if got := query(t, s.conn, "SELECT count(*) FROM t"); got != "500" {
			t.Fatalf("%s rows", got)
		}
		settled(t, s.path)
		s.replica.requireTip(t, s.store, s.path, "after the backup")
		s.commits = append(s.commits, liveDigest(t, s.path))
		if got := query(t, s.conn, "PRAGMA journal_mode"); got != "wal" {
			t.Errorf("journal_mode is %s", got)
		}
		s.do("INSERT INTO t VALUES (1)")
		s.ship("a commit later")
		s.end()
	})
	t.Run("step by step", func(t *testing.T) {
		s := newShape(t)
		s.begin("CREATE TABLE old (x)")
		b, err := plain.BackupInit("main", strings.Replace(uri(s.path, s.store), "vfs=replicated&", "vfs=replicated-power&", 1))
		if err != nil {
			t.Fatal(err)
		}
		for range 5 {
			if _, err := b.Step(10); err != nil {
				t.Fatal(err)
			}
			s.ship("halfway") // nothing of it is committed
		}
		if _, err := b.Step(-1); err != nil {
			t.Fatal(err)
		}
		if err := b.Close(); err != nil {
			t.Fatal(err)
		}
		settled(t, s.path)
		s.replica.requireTip(t, s.store, s.path, "after the backup")
		s.end()
	})
	t.Run("from a replicated one", func(t *testing.T) {
		s := newShape(t)
		exec(t, s.conn, "CREATE TABLE t (x)", manyRows)
		target := filepath.Join(t.TempDir(), "target.db")
		if err := s.conn.Backup("main", "file:"+target); err != nil {
			t.Fatal(err)
		}
		if got := query(t, open(t, "file:"+target), "SELECT count(*) FROM t"); got != "500" {
			t.Fatalf("%s rows", got)
		}
		settled(t, s.path)
		s.replica.requireTip(t, s.store, s.path, "after the backup")
		s.end()
	})
}

// TestAttachDetach: a replicated database that is attached to a connection for a
// while is replicated for that while.
func TestAttachDetach(t *testing.T) {
	s := newShape(t)
	s.begin("CREATE TABLE t (x)")
	other := newShape(t)
	u := strings.Replace(uri(other.path, other.store), "vfs=replicated&", "vfs=replicated-power&", 1)
	other.conn.Close()
	for i := range 3 {
		exec(t, s.conn, "ATTACH '"+u+"' AS other")
		exec(t, s.conn, "CREATE TABLE IF NOT EXISTS other.u (x)", fmt.Sprintf("BEGIN; INSERT INTO t VALUES (%d); INSERT INTO u VALUES (randomblob(9000)); COMMIT", i))
		s.do("SELECT 1")
		if i == 1 {
			settled(t, other.path)
		}
		exec(t, s.conn, "DETACH other")
		if _, ok := vfs.Status(other.path); ok {
			t.Error("it is still replicated")
		}
		other.replica.requireTip(t, other.store, other.path, "detached")
		s.ship("beside it")
	}
	s.end()
}

// TestTemporary: what is temporary is not replicated, and what it does to the
// database is.
func TestTemporary(t *testing.T) {
	for _, store := range []string{"file", "memory"} {
		t.Run(store, func(t *testing.T) {
			s := newShape(t, "_pragma=temp_store("+store+")")
			s.begin("CREATE TABLE t (x)")
			s.do("CREATE TABLE log (x)", "CREATE TEMP TABLE seen (x)",
				"CREATE TEMP TRIGGER note AFTER INSERT ON t BEGIN INSERT INTO log VALUES (new.x); INSERT INTO seen VALUES (new.x); END",
				"INSERT INTO t SELECT randomblob(900) FROM generate_series(1, 50)",
				"CREATE TEMP VIEW v AS SELECT * FROM t", "CREATE INDEX i ON t (x)",
				"INSERT INTO seen SELECT randomblob(1000) FROM generate_series(1, 3000)",
				"ATTACH ':memory:' AS m", "CREATE TABLE m.t2 AS SELECT * FROM seen", "ATTACH '' AS scratch", "CREATE TABLE scratch.t3 AS SELECT * FROM seen")
			s.ship("with temporary tables")
			_, conn := restored(t, s.store, 0)
			if got := query(t, conn, "SELECT (SELECT count(*) FROM log) || (SELECT group_concat(name) FROM (SELECT name FROM sqlite_schema ORDER BY name))"); got != "50i,log,t" {
				t.Errorf("the replica has %s", got)
			}
			s.end()
		})
	}
}

// TestReaderHoldsWAL: a WAL grows beyond 100 MB because a reader stays. What is
// uploaded is what changed, each time, and the reader's end changes nothing.
func TestReaderHoldsWAL(t *testing.T) {
	if testing.Short() {
		t.Skip("writes 100 MB")
	}
	s := newShapeIn(t, t.TempDir(), "_pragma=synchronous(off)") // too large for a directory in memory
	s.begin("PRAGMA page_size=65536", "CREATE TABLE t (x)")
	s.do("INSERT INTO t SELECT randomblob(60000) FROM generate_series(1, 40)")
	reader := open(t, "file:"+s.path)
	exec(t, reader, "BEGIN")
	query(t, reader, "SELECT count(*) FROM t")
	for i := 0; ; i++ {
		exec(t, s.conn, "UPDATE t SET x = randomblob(60000)")
		if i%10 == 0 {
			before := lastTXID(t, s.store)
			settled(t, s.path)
			// At most what changes: the rows' pages, and the table's and the header's.
			if got := pagesSinceTXID(t, s.store, before); got > 2*45 {
				t.Errorf("%d pages were uploaded", got)
			}
		}
		if info, err := os.Stat(s.path + "-wal"); err != nil {
			t.Fatal(err)
		} else if info.Size() > 105<<20 {
			t.Logf("the WAL has %d MB", info.Size()>>20)
			break
		}
	}
	settled(t, s.path)
	s.replica.requireTip(t, s.store, s.path, "while it is read")
	exec(t, reader, "COMMIT")
	reader.Close()
	checkpoint(t, s.conn, sqlite3.CHECKPOINT_TRUNCATE)
	exec(t, s.conn, "INSERT INTO t VALUES (1)")
	settled(t, s.path)
	s.replica.requireTip(t, s.store, s.path, "after the reader")
	s.end()
}

// TestLockPage: a database that is larger than 1 GiB has a page that SQLite never
// writes, and no file of the replica holds it.
func TestLockPage(t *testing.T) {
	if testing.Short() || raceDetected() {
		t.Skip("writes 1 GiB")
	}
	start := time.Now()
	store := newReplica(t)
	path := filepath.Join(t.TempDir(), "app.db")
	conn := open(t, strings.Replace(uri(path, store, "_pragma=synchronous(off)", "close_timeout=60s"), "vfs=replicated&", "vfs=replicated-power&", 1))
	exec(t, conn, "PRAGMA page_size=65536", "CREATE TABLE t (x)")
	for range 9 {
		exec(t, conn, "INSERT INTO t SELECT zeroblob(65000*31) FROM generate_series(1, 60)")
	}
	exec(t, conn, "INSERT INTO t VALUES ('last')")
	lock := format.LockPage(65536)
	settled(t, path)
	t.Logf("written and shipped after %s", time.Since(start))
	exec(t, conn, "UPDATE t SET x = zeroblob(65000*40) WHERE rowid > 535", "DELETE FROM t WHERE rowid = 8")
	settled(t, path)
	files, err := restore.ListFiles(t.Context(), store)
	if err != nil {
		t.Fatal(err)
	}
	beyond := false
	for _, f := range files {
		r, _, err := store.Open(t.Context(), store.Layout().Key(f.Level, f.MinTXID, f.MaxTXID), 0, -1)
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := format.Decode(r, func(_ format.LTXHeader, pgno uint32, _ []byte) error {
			if pgno == lock {
				t.Errorf("%s holds the lock page", f)
			}
			beyond = beyond || pgno > lock
			return nil
		}); err != nil {
			t.Fatal(err)
		}
	}
	if !beyond {
		t.Fatal("the database does not reach the lock page")
	}
	conn.Close()
	target := filepath.Join(t.TempDir(), "restored.db")
	if _, err := restore.Restore(t.Context(), store, target, restore.Options{}); err != nil {
		t.Fatal(err)
	}
	got := open(t, "file:"+target)
	if rows, ok := query(t, got, "SELECT count(*) || ',' || sum(length(x)) FROM t"), query(t, got, "PRAGMA quick_check"); rows == "" || ok != "ok" {
		t.Errorf("%s, %s", rows, ok)
	}
	t.Logf("took %s", time.Since(start))
}

// raceDetected reports whether the race detector is on, which makes everything
// slower.
func raceDetected() bool {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return false
	}
	for _, s := range info.Settings {
		if s.Key == "-race" {
			return s.Value == "true"
		}
	}
	return false
}
