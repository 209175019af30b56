package vfs_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ncruces/go-sqlite3"
	"github.com/ncruces/go-sqlite3/driver"

	"github.com/walvfs/walvfs/vfs"
)

// While a commit waits for a replica in vain, other commits do not make the WAL grow
// without bound.
func TestSyncPinsWALNoLonger(t *testing.T) {
	store := newReplica(t)
	path := filepath.Join(t.TempDir(), "app.db")
	u := uri(path, store, "sync_timeout=off", "close_timeout=1ms")
	conn, other := open(t, u), open(t, u)
	exec(t, conn, "CREATE TABLE t (x)", "CREATE TABLE u (x)")
	settled(t, path)
	down(store)
	done := make(chan error, 1)
	go func() {
		done <- conn.Exec("PRAGMA busy_timeout=10000; PRAGMA walvfs_durability=sync; INSERT INTO t VALUES (1)")
	}()
	eventually(t, "the commit is visible", func() bool { return query(t, other, "SELECT count(*) FROM t") == "1" })
	exec(t, other, "PRAGMA synchronous=off")
	for range 5 {
		exec(t, other, "INSERT INTO u VALUES (zeroblob(14 << 20))") // 70 MiB
	}
	if err := <-done; !errors.Is(err, vfs.ErrUnconfirmed) || !strings.Contains(vfs.Cause(conn).Error(), "WAL has grown") {
		t.Errorf("got %v, %v", err, vfs.Cause(conn))
	}
	// Waits end at once until the WAL has started over, which the next writers can now
	// achieve.
	began := time.Now()
	if err := conn.Exec("INSERT INTO t VALUES (2)"); !errors.Is(err, vfs.ErrUnconfirmed) || time.Since(began) > 5*time.Second {
		t.Errorf("got %v after %s", err, time.Since(began))
	}
	info, err := os.Stat(path + "-wal")
	if err != nil {
		t.Fatal(err)
	}
	for range 5 {
		exec(t, other, "DELETE FROM u WHERE rowid = 1", "INSERT INTO u (rowid, x) VALUES (1, zeroblob(8 << 20))")
	}
	if after, err := os.Stat(path + "-wal"); err != nil || after.Size() > info.Size()+(10<<20) {
		t.Errorf("the WAL had %d bytes, and now %d, %v", info.Size(), after.Size(), err)
	}
	store.SetBefore(nil)
	settled(t, path)
	exec(t, conn, "INSERT INTO t VALUES (3)")
	requireReplicated(t, store, 3)
}

// A commit that SQLite makes although its connection was interrupted before, as when a
// savepoint is rolled back, waits like any other commit.
func TestSyncInterruptedBefore(t *testing.T) {
	store := newReplica(t)
	conn := open(t, uri(filepath.Join(t.TempDir(), "app.db"), store, "durability=sync"))
	exec(t, conn, "CREATE TABLE t (x)", "PRAGMA cache_size=5")
	for _, test := range []struct {
		name string
		do   func() error
	}{
		{"Savepoint.Release", func() (err error) {
			save := conn.Savepoint()
			defer save.Release(&err)
			return fill(t, conn)
		}},
		{"Tx.End", func() (err error) {
			tx, err := conn.BeginImmediate()
			if err != nil {
				return err
			}
			defer tx.End(&err)
			return fill(t, conn)
		}},
	} {
		ctx, cancel := context.WithCancel(t.Context())
		interrupts[conn] = cancel
		old := conn.SetInterrupt(ctx)
		err := test.do()
		conn.SetInterrupt(old)
		if !errors.Is(err, sqlite3.INTERRUPT) {
			t.Errorf("%s: %v", test.name, err)
		}
		exec(t, conn, "INSERT INTO t VALUES (1)")
	}
	requireReplicated(t, store, 2)
}

// interrupts holds the connections that fill interrupts.
var interrupts = map[*sqlite3.Conn]context.CancelFunc{}

// fill writes more than the cache holds, and interrupts the connection.
func fill(t *testing.T, conn *sqlite3.Conn) error {
	exec(t, conn, manyRows)
	interrupts[conn]()
	return conn.Exec("SELECT 1")
}

// A transaction of database/sql whose context ends before COMMIT is rolled back, and a
// transaction whose context ends while it waits is unconfirmed.
func TestSyncInterruptDatabaseSQL(t *testing.T) {
	store := newReplica(t)
	db, err := driver.Open(uri(filepath.Join(t.TempDir(), "app.db"), store, "durability=sync", "sync_timeout=off", "close_timeout=1ms"))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.Exec("CREATE TABLE t (x)"); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tx.Exec("INSERT INTO t VALUES (1)"); err != nil {
		t.Fatal(err)
	}
	cancel()
	if err := tx.Commit(); err == nil {
		t.Error("a transaction whose context has ended was committed")
	}
	down(store)
	ctx, cancel = context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if _, err := db.ExecContext(ctx, "INSERT INTO t VALUES (2)"); !errors.Is(err, vfs.ErrUnconfirmed) {
		t.Errorf("got %v", err)
	}
	store.SetBefore(nil)
	if _, err := db.Exec("INSERT INTO t VALUES (3)"); err != nil {
		t.Error(err)
	}
	requireReplicated(t, store, 2)
}

// If the first file of a transaction over two files is unconfirmed, both files are
// replicated once the stores answer, and the connection still works.
func TestSyncAttachedFirstUnconfirmed(t *testing.T) {
	a, b := newReplica(t), newReplica(t)
	dir := t.TempDir()
	params := []string{"durability=sync", "sync_timeout=2s", "close_timeout=1ms"}
	conn := open(t, uri(filepath.Join(dir, "a.db"), a, params...))
	exec(t, conn, "ATTACH '"+uri(filepath.Join(dir, "b.db"), b, params...)+"' AS b", "CREATE TABLE main.t (x)", "CREATE TABLE b.t (x)")
	const both = "BEGIN; INSERT INTO main.t VALUES (1); INSERT INTO b.t VALUES (1); COMMIT"
	exec(t, conn, "PRAGMA main.cache_size=-2000", both)
	down(a)
	if err := conn.Exec(both); !errors.Is(err, vfs.ErrUnconfirmed) {
		t.Errorf("got %v", err)
	}
	if !conn.GetAutocommit() {
		t.Error("the transaction goes on")
	}
	eventually(t, "the second file is replicated", func() bool { return replicaRows(t, b) == "2" })
	a.SetBefore(nil)
	eventually(t, "the first file is replicated", func() bool { return replicaRows(t, a) == "2" })
	exec(t, conn, both)
	requireReplicated(t, a, 3)
	requireReplicated(t, b, 3)
}
