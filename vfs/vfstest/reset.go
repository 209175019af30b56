package vfstest

import (
	"bytes"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ncruces/go-sqlite3"

	"github.com/walvfs/walvfs/vfs"
	"github.com/walvfs/walvfs/vfs/internal/dbtest"
)

// testResets: commits that were not cut before the WAL starts over are in the next cut,
// whichever way the WAL starts over.
func testResets(t *testing.T) {
	for name, reset := range map[string]func(t *testing.T, conn *sqlite3.Conn, path string){
		"next writer": func(t *testing.T, conn *sqlite3.Conn, _ string) {
			dbtest.Checkpoint(t, conn, sqlite3.CHECKPOINT_FULL)
			dbtest.Exec(t, conn, "INSERT INTO t VALUES ('next')")
		},
		"next writer rolls back": func(t *testing.T, conn *sqlite3.Conn, _ string) {
			dbtest.Checkpoint(t, conn, sqlite3.CHECKPOINT_FULL)
			dbtest.Exec(t, conn, "BEGIN", dbtest.ManyRows, "ROLLBACK")
		},
		"restart": func(t *testing.T, conn *sqlite3.Conn, _ string) {
			dbtest.Checkpoint(t, conn, sqlite3.CHECKPOINT_RESTART)
		},
		"truncate": func(t *testing.T, conn *sqlite3.Conn, _ string) {
			dbtest.Checkpoint(t, conn, sqlite3.CHECKPOINT_TRUNCATE)
		},
		"many": func(t *testing.T, conn *sqlite3.Conn, path string) {
			dbtest.Exec(t, conn, "PRAGMA wal_autocheckpoint=1")
			for i := range 30 {
				dbtest.Exec(t, conn, fmt.Sprintf("UPDATE t SET x = randomblob(700) WHERE rowid = %d", i+1))
			}
		},
		"foreign": func(t *testing.T, _ *sqlite3.Conn, path string) {
			plain := dbtest.Open(t, "file:"+path)
			defer plain.Close()
			dbtest.Exec(t, plain, "UPDATE t SET x = randomblob(600) WHERE rowid BETWEEN 300 AND 320",
				"PRAGMA wal_checkpoint(FULL)", "INSERT INTO t VALUES ('theirs')")
		},
		"foreign, then ours": func(t *testing.T, conn *sqlite3.Conn, path string) {
			plain := dbtest.Open(t, "file:"+path)
			defer plain.Close()
			dbtest.Exec(t, plain, "UPDATE t SET x = randomblob(600) WHERE rowid BETWEEN 300 AND 320",
				"PRAGMA wal_checkpoint(FULL)", "UPDATE t SET x = randomblob(600) WHERE rowid BETWEEN 400 AND 420", "PRAGMA wal_checkpoint(FULL)")
			dbtest.Exec(t, conn, "INSERT INTO t VALUES ('ours')")
		},
		"foreign truncate": func(t *testing.T, _ *sqlite3.Conn, path string) {
			plain := dbtest.Open(t, "file:"+path)
			defer plain.Close()
			dbtest.Exec(t, plain, "UPDATE t SET x = randomblob(600) WHERE rowid BETWEEN 300 AND 320", "PRAGMA wal_checkpoint(TRUNCATE)")
		},
	} {
		t.Run(name, func(t *testing.T) {
			store := dbtest.NewReplica(t)
			path := filepath.Join(t.TempDir(), "app.db")
			conn := dbtest.Open(t, dbtest.URI(path, store))
			dbtest.Exec(t, conn, "PRAGMA auto_vacuum=full", "CREATE TABLE t (x)", dbtest.ManyRows, dbtest.Spilling)
			dbtest.Settled(t, path)
			release := dbtest.Hold(t, store, conn)
			dbtest.Exec(t, conn, "UPDATE t SET x = randomblob(600) WHERE rowid < 100", "DELETE FROM t WHERE rowid BETWEEN 200 AND 210")
			reset(t, conn, path)
			release()
			dbtest.Settled(t, path)
			dbtest.RequireEqual(t, store, path)
		})
	}
}

// testGrowth: a database grows without a frame for each new page, and grows again after
// it has shrunk. A restore needs all its pages.
func testGrowth(t *testing.T) {
	store := dbtest.NewReplica(t)
	path := filepath.Join(t.TempDir(), "app.db")
	conn := dbtest.Open(t, dbtest.URI(path, store))
	dbtest.Exec(t, conn, "CREATE TABLE t (x)")
	dbtest.Settled(t, path)
	dbtest.Exec(t, conn, "BEGIN", "INSERT INTO t VALUES (zeroblob(1000000))", "DELETE FROM t", "COMMIT")
	dbtest.Settled(t, path)
	dbtest.RequireEqual(t, store, path)

	dbtest.Exec(t, conn, "INSERT INTO t VALUES (randomblob(2000000))")
	dbtest.Settled(t, path)
	release := dbtest.Hold(t, store, conn)
	dbtest.Exec(t, conn, "DELETE FROM t", "VACUUM", "PRAGMA wal_checkpoint(TRUNCATE)",
		"BEGIN", "INSERT INTO t VALUES (zeroblob(2000000))", "DELETE FROM t", "COMMIT")
	release()
	dbtest.Settled(t, path)
	dbtest.RequireEqual(t, store, path)
	dbtest.RequireIntact(t, store)
}

// testNoNeedlessResync: the VFS never takes this process's writes for another program's.
func testNoNeedlessResync(t *testing.T) {
	var log bytes.Buffer
	vfs.Register("replicated-logged", vfs.Options{Logger: slog.New(slog.NewTextHandler(&dbtest.SyncWriter{W: &log}, nil))})
	store := dbtest.NewReplica(t)
	path := filepath.Join(t.TempDir(), "app.db")
	logged := strings.Replace(dbtest.URI(path, store), "vfs=replicated&", "vfs=replicated-logged&", 1)
	a, b := dbtest.Open(t, logged), dbtest.Open(t, logged)
	dbtest.Exec(t, a, "CREATE TABLE t (x)", dbtest.ManyRows)
	for i := range 40 {
		dbtest.Exec(t, b, "PRAGMA wal_checkpoint("+[]string{"PASSIVE", "FULL", "RESTART", "TRUNCATE"}[i%4]+")")
		dbtest.Exec(t, a, "BEGIN", "INSERT INTO t VALUES (1)", "ROLLBACK", dbtest.Spilling)
		dbtest.Exec(t, a, "BEGIN", dbtest.ManyRows, "ROLLBACK")
		if i%3 == 0 {
			dbtest.Settled(t, path)
		}
		dbtest.Exec(t, b, "DELETE FROM t WHERE rowid % 11 = 3")
	}
	dbtest.Settled(t, path)
	a.Close()
	b.Close()
	dbtest.RequireEqual(t, store, path)
	if strings.Contains(log.String(), "uploaded again") {
		t.Errorf("a resync without a reason:\n%s", log.String())
	}
}
