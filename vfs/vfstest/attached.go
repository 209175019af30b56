package vfstest

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/walvfs/walvfs/vfs/internal/dbtest"
)

// testBackupInto: SQLite's backup writes a whole database into a replicated database.
func testBackupInto(t *testing.T) {
	source := filepath.Join(t.TempDir(), "source.db")
	plain := dbtest.Open(t, "file:"+source)
	dbtest.Exec(t, plain, "CREATE TABLE t (x)", dbtest.ManyRows)

	t.Run("from another", func(t *testing.T) {
		s := newShape(t)
		s.begin("CREATE TABLE old (x)")
		s.do("INSERT INTO old VALUES (zeroblob(3000000))")
		s.ship("before")
		if err := s.conn.Restore("main", "file:"+source); err != nil {
			t.Fatal(err)
		}
		if got := dbtest.Query(t, s.conn, "SELECT count(*) FROM t"); got != "500" {
			t.Fatalf("%s rows", got)
		}
		dbtest.Settled(t, s.path)
		s.replica.RequireTip(t, s.store, s.path, "after the backup")
		s.commits = append(s.commits, dbtest.LiveDigest(t, s.path))
		if got := dbtest.Query(t, s.conn, "PRAGMA journal_mode"); got != "wal" {
			t.Errorf("journal_mode is %s", got)
		}
		s.do("INSERT INTO t VALUES (1)")
		s.ship("a commit later")
		s.end()
	})
	t.Run("step by step", func(t *testing.T) {
		s := newShape(t)
		s.begin("CREATE TABLE old (x)")
		b, err := plain.BackupInit("main", dbtest.URI(s.path, s.store))
		if err != nil {
			t.Fatal(err)
		}
		for range 5 {
			if _, err := b.Step(10); err != nil {
				t.Fatal(err)
			}
			s.ship("halfway") // nothing of the backup is committed yet
		}
		if _, err := b.Step(-1); err != nil {
			t.Fatal(err)
		}
		if err := b.Close(); err != nil {
			t.Fatal(err)
		}
		dbtest.Settled(t, s.path)
		s.replica.RequireTip(t, s.store, s.path, "after the backup")
		s.end()
	})
	t.Run("from a replicated one", func(t *testing.T) {
		s := newShape(t)
		dbtest.Exec(t, s.conn, "CREATE TABLE t (x)", dbtest.ManyRows)
		target := filepath.Join(t.TempDir(), "target.db")
		if err := s.conn.Backup("main", "file:"+target); err != nil {
			t.Fatal(err)
		}
		if got := dbtest.Query(t, dbtest.Open(t, "file:"+target), "SELECT count(*) FROM t"); got != "500" {
			t.Fatalf("%s rows", got)
		}
		dbtest.Settled(t, s.path)
		s.replica.RequireTip(t, s.store, s.path, "after the backup")
		s.end()
	})
}

// testAttachDetach: a replicated database is replicated while a connection has it
// attached.
func testAttachDetach(t *testing.T) {
	s := newShape(t)
	s.begin("CREATE TABLE t (x)")
	other := newShape(t)
	u := dbtest.URI(other.path, other.store)
	other.conn.Close()
	for i := range 3 {
		dbtest.Exec(t, s.conn, "ATTACH '"+u+"' AS other")
		dbtest.Exec(t, s.conn, "CREATE TABLE IF NOT EXISTS other.u (x)", fmt.Sprintf("BEGIN; INSERT INTO t VALUES (%d); INSERT INTO u VALUES (randomblob(9000)); COMMIT", i))
		s.do("SELECT 1")
		if i == 1 {
			dbtest.Settled(t, other.path)
		}
		dbtest.Exec(t, s.conn, "DETACH other")
		if _, ok := dbtest.Status(other.path); ok {
			t.Error("it is still replicated")
		}
		other.replica.RequireTip(t, other.store, other.path, "detached")
		s.ship("beside it")
	}
	s.end()
}

// testTemporary: temporary objects are not replicated, but their changes to the database
// are.
func testTemporary(t *testing.T) {
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
			_, conn := dbtest.Restored(t, s.store, 0)
			if got := dbtest.Query(t, conn, "SELECT (SELECT count(*) FROM log) || (SELECT group_concat(name) FROM (SELECT name FROM sqlite_schema ORDER BY name))"); got != "50i,log,t" {
				t.Errorf("the replica has %s", got)
			}
			s.end()
		})
	}
}

// A database whose URI does not ask for replication is not replicated.
func testPassThrough(t *testing.T) {
	store, attached := dbtest.NewReplica(t), dbtest.NewReplica(t)
	dir := t.TempDir()
	path := filepath.Join(dir, "app.db")
	conn := dbtest.Open(t, dbtest.URI(path, store))
	dbtest.Exec(t, conn, "CREATE TABLE t (x)", dbtest.ManyRows,
		"ATTACH '"+filepath.Join(dir, "plain.db")+"' AS plain", "CREATE TABLE plain.p (x)", "INSERT INTO p VALUES (1)",
		"ATTACH ':memory:' AS mem", "CREATE TABLE mem.m (x)",
		"ATTACH '"+dbtest.URI(filepath.Join(dir, "two.db"), attached)+"' AS two", "CREATE TABLE two.u (x)", "INSERT INTO u VALUES (1)",
		"PRAGMA temp_store=file", "CREATE TEMP TABLE tmp AS SELECT * FROM t", "SELECT * FROM t ORDER BY x",
		"VACUUM INTO '"+filepath.Join(dir, "into.db")+"'")
	if got := dbtest.Query(t, conn, "PRAGMA plain.journal_mode"); got != "delete" {
		t.Errorf("the plain database is in %s mode", got)
	}
	conn.Close()
	dbtest.RequireEqual(t, store, path)
	dbtest.RequireEqual(t, attached, filepath.Join(dir, "two.db"))
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	if got, want := strings.Join(names, " "), "app.db app.db-walvfs into.db plain.db two.db two.db-walvfs"; got != want {
		t.Errorf("the directory has %s, want %s", got, want)
	}
	for _, name := range []string{"plain.db", "into.db"} {
		if dbtest.Query(t, dbtest.Open(t, "file:"+filepath.Join(dir, name)), "PRAGMA integrity_check") != "ok" {
			t.Errorf("%s is broken", name)
		}
	}
}
