package vfstest

import (
	"context"
	"errors"
	"path/filepath"
	"testing"
	"time"

	"github.com/ncruces/go-sqlite3"

	"github.com/walvfs/walvfs/vfs"
	"github.com/walvfs/walvfs/vfs/internal/dbtest"
)

// A commit that has returned is in the replica, including the first commit of a new
// database.
func testSync(t *testing.T) {
	store := dbtest.NewReplica(t)
	path := filepath.Join(t.TempDir(), "app.db")
	conn := dbtest.Open(t, dbtest.URI(path, store, "durability=sync"))
	dbtest.Exec(t, conn, "CREATE TABLE t (x)")
	dbtest.RequireReplicated(t, store, 0)
	for i := range 20 {
		dbtest.Exec(t, conn, "INSERT INTO t VALUES (randomblob(2000))")
		dbtest.RequireReplicated(t, store, i+1)
		if i%5 == 0 {
			dbtest.Checkpoint(t, conn, sqlite3.CHECKPOINT_TRUNCATE)
		}
	}
	dbtest.Exec(t, conn, "BEGIN", "INSERT INTO t VALUES (1)", "INSERT INTO t VALUES (2)")
	dbtest.RequireReplicated(t, store, 20)
	dbtest.Exec(t, conn, "COMMIT")
	dbtest.RequireReplicated(t, store, 22)
	dbtest.Exec(t, conn, "BEGIN", "INSERT INTO t VALUES (1)", "ROLLBACK")
	tip := dbtest.LastTXID(t, store)
	dbtest.Exec(t, conn, "BEGIN IMMEDIATE", "COMMIT")
	if got := dbtest.LastTXID(t, store); got != tip {
		t.Errorf("a transaction that wrote nothing was uploaded: TXID %s after %s", got, tip)
	}
}

// Commits of a connection wait if it asks for that; commits of other connections do not.
func testDurabilityPragma(t *testing.T) {
	store := dbtest.NewReplica(t)
	path := filepath.Join(t.TempDir(), "app.db")
	conn, other := dbtest.Open(t, dbtest.URI(path, store)), dbtest.Open(t, dbtest.URI(path, store))
	dbtest.Exec(t, conn, "CREATE TABLE t (x)")
	if got := dbtest.Query(t, conn, "PRAGMA walvfs_durability"); got != "async" {
		t.Error(got)
	}
	if got := dbtest.Query(t, conn, "PRAGMA walvfs_durability = sync"); got != "sync" {
		t.Error(got)
	}
	dbtest.Exec(t, conn, "INSERT INTO t VALUES (1)")
	dbtest.RequireReplicated(t, store, 1)
	release := dbtest.Hold(t, store, other)
	dbtest.Exec(t, other, "INSERT INTO t VALUES (2)") // returns
	release()
	dbtest.Exec(t, conn, "INSERT INTO t VALUES (3)")
	dbtest.RequireReplicated(t, store, 3)
	if got := dbtest.Query(t, conn, "PRAGMA walvfs_durability = 'ASYNC'"); got != "async" {
		t.Error(got)
	}
	if err := conn.Exec("PRAGMA walvfs_durability = maybe"); err == nil {
		t.Error("walvfs_durability=maybe is accepted")
	}
	if err := conn.Exec("PRAGMA walvfs_wiat"); err == nil {
		t.Error("walvfs_wiat is accepted")
	}
}

// An unconfirmed commit returns an error, but is made, once, and reaches the replica
// later. The connection stays usable.
func testUnconfirmed(t *testing.T) {
	store := dbtest.NewReplica(t)
	path := filepath.Join(t.TempDir(), "app.db")
	other := dbtest.Open(t, dbtest.URI(path, store, "close_timeout=1ms"))
	dbtest.Exec(t, other, "CREATE TABLE t (x)")
	dbtest.Settled(t, path)
	conn := dbtest.Open(t, dbtest.URI(path, store, "durability=sync", "sync_timeout=50ms", "close_timeout=1ms"))
	dbtest.Down(store)
	dbtest.Exec(t, other, "INSERT INTO t VALUES (0)")
	dbtest.Eventually(t, "an upload has failed", func() bool {
		status, _ := dbtest.Status(path)
		return status.Err != nil
	})
	err := conn.Exec("INSERT INTO t VALUES (1)")
	if !errors.Is(err, vfs.ErrUnconfirmed) || !errors.Is(err, sqlite3.IOERR) {
		t.Errorf("got %v", err)
	}
	if cause := vfs.Cause(conn); !errors.Is(cause, dbtest.ErrInjected) || dbtest.Query(t, conn, "PRAGMA walvfs_error") != cause.Error() {
		t.Errorf("because of %v", cause)
	}
	if got := dbtest.Query(t, other, "SELECT count(*) FROM t"); got != "2" {
		t.Errorf("%s rows after an unconfirmed commit", got)
	}
	dbtest.Exec(t, other, "INSERT INTO t VALUES (2)") // the database is not locked
	if err := conn.Exec("BEGIN; INSERT INTO t VALUES (3); COMMIT"); !errors.Is(err, vfs.ErrUnconfirmed) {
		t.Errorf("got %v", err)
	}
	if !conn.GetAutocommit() {
		t.Error("a transaction is left open")
	}
	store.SetBefore(nil)
	dbtest.Settled(t, path)
	// 50 ms may be too short for a slow machine.
	if err := conn.Exec("INSERT INTO t VALUES (4)"); err != nil && !errors.Is(err, vfs.ErrUnconfirmed) {
		t.Errorf("got %v", err)
	}
	dbtest.Settled(t, path)
	dbtest.RequireReplicated(t, store, 5)
}

// An explicit wait returns when the replica has the connection's commits, and immediately
// if the connection has made no new commits.
func testWait(t *testing.T) {
	store := dbtest.NewReplica(t)
	path := filepath.Join(t.TempDir(), "app.db")
	conn, other := dbtest.Open(t, dbtest.URI(path, store, "interval=1h", "close_timeout=1ms")), dbtest.Open(t, dbtest.URI(path, store, "interval=1h"))
	dbtest.Exec(t, conn, "CREATE TABLE t (x)")
	for i := range 3 {
		dbtest.Exec(t, conn, "INSERT INTO t VALUES (1)")
		if err := vfs.WaitConn(t.Context(), conn); err != nil {
			t.Fatal(err)
		}
		dbtest.RequireReplicated(t, store, i+1)
	}
	dbtest.Exec(t, conn, "INSERT INTO t VALUES (1)")
	if got, tip := dbtest.Query(t, conn, "PRAGMA walvfs_wait"), dbtest.LastTXID(t, store); got != tip.String() {
		t.Errorf("walvfs_wait returned %s, the tip is %s", got, tip)
	}
	if got, tip := dbtest.Query(t, conn, "PRAGMA walvfs_txid"), dbtest.LastTXID(t, store); got != tip.String() {
		t.Errorf("walvfs_txid returned %s, the tip is %s", got, tip)
	}
	dbtest.RequireReplicated(t, store, 4)
	dbtest.Down(store)
	dbtest.Exec(t, other, "INSERT INTO t VALUES (2)")
	if err := vfs.WaitConn(t.Context(), conn); err != nil {
		t.Errorf("a connection that committed nothing waits: %v", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := vfs.WaitConn(ctx, other); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
	store.SetBefore(nil)
	if err := vfs.WaitConn(t.Context(), other); err != nil {
		t.Error(err)
	}
	dbtest.RequireReplicated(t, store, 5)
	plain := dbtest.Open(t, "file:"+filepath.Join(t.TempDir(), "plain.db"))
	if err := vfs.WaitConn(t.Context(), plain); !errors.Is(err, vfs.ErrNotReplicated) {
		t.Errorf("got %v", err)
	}
	dbtest.Exec(t, plain, "ATTACH "+sqlite3.Quote(dbtest.URI(path, store, "interval=1h"))+" AS b", "INSERT INTO b.t VALUES (3)")
	if err := vfs.WaitConn(t.Context(), plain); err != nil {
		t.Error(err)
	}
	dbtest.RequireReplicated(t, store, 6)
}
