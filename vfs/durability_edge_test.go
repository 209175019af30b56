package vfs_test

import (
	"context"
	"errors"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ncruces/go-sqlite3"

	"github.com/walvfs/walvfs/vfs"
)

// A commit does not return before it is in the replica because replication could not
// open the database yet.
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

// A transaction that wrote nothing has nothing to wait for.
func TestSyncNothingWritten(t *testing.T) {
	store := newReplica(t)
	path := filepath.Join(t.TempDir(), "app.db")
	conn := open(t, uri(path, store, "durability=sync", "sync_timeout=50ms", "close_timeout=1ms"))
	other := open(t, uri(path, store))
	exec(t, other, "PRAGMA walvfs_durability = async")
	exec(t, conn, "CREATE TABLE t (x)")
	down(store)
	exec(t, other, "INSERT INTO t VALUES (1)")
	if err := conn.Exec("BEGIN IMMEDIATE; CREATE TABLE IF NOT EXISTS t (x); COMMIT"); err != nil {
		t.Errorf("a transaction that wrote nothing: %v", err)
	}
}

// Waiting is for what the connection has committed, not for what others have since.
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
	if err := vfs.Wait(ctx, conn); err != nil {
		t.Errorf("the replica has what the connection has committed, and: %v", err)
	}
}

// A database that is closed meanwhile is no failure of Shutdown: nothing is lacking.
func TestShutdownBesideClose(t *testing.T) {
	bad := 0
	for i := range 300 {
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
		t.Errorf("%d failures of 300", bad)
	}
}
