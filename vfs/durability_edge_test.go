package vfs_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ncruces/go-sqlite3"

	"github.com/walvfs/walvfs/vfs"
)

// A commit waits for the replica also while replication has not been able to open the
// database.
func TestSyncNotConnected(t *testing.T) {
	store := newReplica(t)
	path := filepath.Join(t.TempDir(), "app.db")
	plain := open(t, "file:"+path)
	exec(t, plain, "PRAGMA journal_mode=wal", "CREATE TABLE t (x)", "INSERT INTO t VALUES (0)")
	var opens atomic.Int32
	hooks := &faultHooks{open: func(kind string) error {
		if kind == "db" && opens.Add(1) > 1 && opens.Load() < 50 {
			return errInjected
		}
		return nil
	}}
	conn := open(t, faulty(path, store, hooks, "durability=sync", "sync_timeout=300ms", "close_timeout=1ms"))
	for i := range 3 {
		err := conn.Exec("INSERT INTO t VALUES (1)")
		tip := lastTXID(t, store)
		t.Logf("commit %d: %v, cause %v, tip %s", i, err, vfs.Cause(conn), tip)
		if err == nil && tip == 0 {
			t.Errorf("commit %d has returned and is not in the replica", i)
		}
		if err != nil && !errors.Is(err, vfs.ErrUnconfirmed) {
			t.Error(err)
		}
	}
}

// A transaction that wrote nothing does not wait.
func TestSyncNothingWritten(t *testing.T) {
	store := newReplica(t)
	path := filepath.Join(t.TempDir(), "app.db")
	conn := open(t, uri(path, store, "durability=sync", "sync_timeout=2s", "close_timeout=1ms"))
	other := open(t, uri(path, store))
	exec(t, other, "PRAGMA walvfs_durability = async")
	exec(t, conn, "CREATE TABLE t (x)")
	down(store)
	exec(t, other, "INSERT INTO t VALUES (1)")
	if err := conn.Exec("BEGIN IMMEDIATE; CREATE TABLE IF NOT EXISTS t (x); COMMIT"); err != nil {
		t.Errorf("a transaction that wrote nothing: %v", err)
	}
}

// A connection waits for its own commits, not for later commits of other connections.
func TestWaitOwnCommit(t *testing.T) {
	store := newReplica(t)
	path := filepath.Join(t.TempDir(), "app.db")
	conn, other := open(t, uri(path, store, "close_timeout=1ms")), open(t, uri(path, store))
	exec(t, conn, "CREATE TABLE t (x)", "INSERT INTO t VALUES (1)")
	settled(t, path)
	down(store)
	exec(t, other, "INSERT INTO t VALUES (2)")
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := vfs.WaitConn(ctx, conn); err != nil {
		t.Errorf("the replica has what the connection has committed, and: %v", err)
	}
}

// Shutdown does not fail if a database is closed meanwhile: its replica has every commit.
func TestShutdownBesideClose(t *testing.T) {
	bad := 0
	for i := range 60 {
		store := newReplica(t)
		path := filepath.Join(t.TempDir(), "app.db")
		conn, err := sqlite3.Open(uri(path, store))
		if err != nil {
			t.Fatal(err)
		}
		exec(t, conn, "CREATE TABLE t (x)")
		var wg sync.WaitGroup
		wg.Go(func() { conn.Close() })
		wg.Go(func() {
			time.Sleep(time.Duration(i%30) * 100 * time.Microsecond)
			if err := vfs.Shutdown(context.Background()); err != nil {
				bad++
				t.Log(err)
			}
		})
		wg.Wait()
	}
	if bad > 0 {
		t.Errorf("%d failures of 60", bad)
	}
}

// SQLite rolls back all of a transaction that is refused after it has outgrown the cache:
// later commits are complete in the WAL, not only in its index.
func TestRefusedSpill(t *testing.T) {
	store := newReplica(t)
	path := filepath.Join(t.TempDir(), "app.db")
	conn := open(t, uri(path, store, "max_lag=100ms", "close_timeout=1ms"))
	for _, sql := range []string{"CREATE TABLE t (x)", "INSERT INTO t VALUES (1)", "PRAGMA cache_size = 5"} {
		exec(t, conn, sql)
		settled(t, path)
	}
	down(store)
	exec(t, conn, "INSERT INTO t VALUES (2)")
	lagging(t, path, 100*time.Millisecond)
	if err := conn.Exec("BEGIN; INSERT INTO t SELECT randomblob(3000) FROM generate_series(1, 100)"); !errors.Is(err, vfs.ErrLag) {
		t.Fatal(err)
	}
	if !conn.GetAutocommit() {
		t.Error("a refused transaction goes on")
	}
	store.SetBefore(nil)
	settled(t, path)
	exec(t, conn, "INSERT INTO t VALUES (3)")
	settled(t, path)
	exec(t, conn, "INSERT INTO t VALUES (4)")
	copied := filepath.Join(t.TempDir(), "copy.db")
	for _, suffix := range []string{"", "-wal"} { // as a crash leaves them
		b, err := os.ReadFile(path + suffix)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(copied+suffix, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if got := query(t, open(t, "file:"+copied), "SELECT count(*) FROM t"); got != "4" {
		t.Errorf("%s rows after a crash, 4 were committed", got)
	}
}
