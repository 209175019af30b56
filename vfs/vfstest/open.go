package vfstest

import (
	"bytes"
	"database/sql"
	"errors"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/ncruces/go-sqlite3"

	"github.com/walvfs/walvfs/vfs"
	"github.com/walvfs/walvfs/vfs/internal/dbtest"
)

func testRefused(t *testing.T) {
	store := dbtest.NewReplica(t)
	path := filepath.Join(t.TempDir(), "app.db")
	conn := dbtest.Open(t, dbtest.URI(path, store))
	dbtest.Exec(t, conn, "CREATE TABLE t (x)")
	for pragma, want := range map[string]string{
		"PRAGMA journal_mode=delete":    "stays in WAL mode",
		"PRAGMA locking_mode=EXCLUSIVE": "lock replication out",
	} {
		if err := conn.Exec(pragma); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", pragma, err, want)
		}
	}
	dbtest.Exec(t, conn, "PRAGMA journal_mode=wal", "PRAGMA locking_mode=normal")
}

// The replica of an existing database begins with the whole database, in any journal mode
// and with any WAL.
func testExistingDatabase(t *testing.T) {
	for _, mode := range []string{"delete", "wal"} {
		t.Run(mode, func(t *testing.T) {
			store := dbtest.NewReplica(t)
			path := filepath.Join(t.TempDir(), "app.db")
			plain := dbtest.Open(t, "file:"+path)
			dbtest.Exec(t, plain, "PRAGMA journal_mode="+mode, "CREATE TABLE t (x)", dbtest.ManyRows)
			if mode == "delete" {
				plain.Close()
			}
			conn := dbtest.Open(t, dbtest.URI(path, store))
			dbtest.Settled(t, path)
			if got := dbtest.ReplicaRows(t, store); got != "500" {
				t.Errorf("the replica has %s rows", got)
			}
			dbtest.Exec(t, conn, "DELETE FROM t WHERE rowid > 100")
			plain.Close()
			conn.Close()
			dbtest.RequireEqual(t, store, path)
		})
	}
}

// A read-only connection is harmless, alone and with other connections.
func testReadOnly(t *testing.T) {
	store := dbtest.NewReplica(t)
	path := filepath.Join(t.TempDir(), "app.db")
	plain := dbtest.Open(t, "file:"+path)
	dbtest.Exec(t, plain, "CREATE TABLE t (x)", "INSERT INTO t VALUES (1)")
	plain.Close()
	ro := dbtest.Open(t, dbtest.URI(path, store, "mode=ro"))
	if got := dbtest.Query(t, ro, "SELECT count(*) FROM t"); got != "1" {
		t.Error(got)
	}
	if dbtest.LastTXID(t, store) != 0 {
		t.Error("a read-only connection replicates")
	}
	conn := dbtest.Open(t, dbtest.URI(path, store))
	dbtest.Exec(t, conn, "INSERT INTO t VALUES (1)")
	if got := dbtest.Query(t, ro, "SELECT count(*) FROM t"); got != "2" {
		t.Error(got)
	}
	ro.Close()
	conn.Close()
	dbtest.RequireEqual(t, store, path)
}

// No other connection takes the database out of WAL mode either: that would need the lock
// that the internal connection shares.
func testStaysInWALMode(t *testing.T) {
	store := dbtest.NewReplica(t)
	dir := t.TempDir()
	path := filepath.Join(dir, "app.db")
	conn := dbtest.Open(t, "file:"+filepath.Join(dir, "plain.db"))
	dbtest.Exec(t, conn, "ATTACH '"+dbtest.URI(path, store)+"' AS app", "CREATE TABLE t (x)", "CREATE TABLE app.t (x)",
		strings.Replace(dbtest.ManyRows, "INTO t", "INTO app.t", 1))
	dbtest.Settled(t, path)
	// Without a schema, the main database gets the PRAGMA.
	if err := conn.Exec("PRAGMA journal_mode=delete"); !errors.Is(err, sqlite3.IOERR_LOCK) || vfs.Cause(conn) == nil {
		t.Errorf("got %v, %v", err, vfs.Cause(conn))
	}
	dbtest.Exec(t, conn, "DELETE FROM app.t WHERE rowid % 3 = 0", "INSERT INTO app.t VALUES (randomblob(3000))")
	conn.Close()
	dbtest.RequireEqual(t, store, path)
}

// The application closes and reopens, also while the last close still uploads.
func testReopen(t *testing.T) {
	var log bytes.Buffer
	vfs.Register("replicated-reopen", vfs.Options{Logger: slog.New(slog.NewTextHandler(&dbtest.SyncWriter{W: &log}, nil))})
	store := dbtest.NewReplica(t)
	path := filepath.Join(t.TempDir(), "app.db")
	logged := strings.Replace(dbtest.URI(path, store), "vfs=replicated&", "vfs=replicated-reopen&", 1)
	for i := range 5 {
		conn := dbtest.Open(t, logged)
		dbtest.Exec(t, conn, "CREATE TABLE IF NOT EXISTS t (x)", "INSERT INTO t VALUES (1)")
		conn.Close()
		if st, ok := dbtest.Status(path); ok {
			t.Errorf("round %d: still open: %+v", i, st)
		}
		dbtest.RequireEqual(t, store, path)
	}

	db, err := sql.Open("sqlite3", logged)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	db.SetMaxIdleConns(0) // each statement opens and closes a connection
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 50 {
				if _, err := db.Exec("INSERT INTO t VALUES (1)"); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	db.Close()
	dbtest.RequireEqual(t, store, path)
	dbtest.RequireIntact(t, store)
	if strings.Contains(log.String(), "closed before the replica had every commit") {
		t.Errorf("a close ended another one's wait:\n%s", log.String())
	}
}

// The VFS keeps a WAL that the application wants to keep.
func testPersistWAL(t *testing.T) {
	store := dbtest.NewReplica(t)
	path := filepath.Join(t.TempDir(), "app.db")
	conn := dbtest.Open(t, dbtest.URI(path, store))
	dbtest.Exec(t, conn, "CREATE TABLE t (x)", "INSERT INTO t VALUES (1)")
	if _, err := conn.FileControl("main", sqlite3.FCNTL_PERSIST_WAL, true); err != nil {
		t.Fatal(err)
	}
	dbtest.Settled(t, path)
	conn.Close()
	if _, err := os.Stat(path + "-wal"); err != nil {
		t.Error(err)
	}
	dbtest.RequireEqual(t, store, path)
}

// A file name has every character with a meaning in URIs.
func testOddNames(t *testing.T) {
	for _, name := range []string{"a b.db", "a%20b.db", "a?b#c&d=e.db", "ä.db", "-wal"} {
		t.Run(name, func(t *testing.T) {
			store := dbtest.NewReplica(t)
			path := filepath.Join(t.TempDir(), name)
			conn := dbtest.Open(t, dbtest.URI((&url.URL{Path: path}).EscapedPath(), store))
			dbtest.Exec(t, conn, "CREATE TABLE t (x)", "INSERT INTO t VALUES (1)")
			dbtest.Settled(t, path)
			conn.Close()
			dbtest.RequireEqual(t, store, path)
		})
	}
}
