//go:build linux

package vfs_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ncruces/go-sqlite3"

	"github.com/walvfs/walvfs/shipper"
	"github.com/walvfs/walvfs/shipper/storage"
)

// A missing database is restored before SQLite sees it, once for all connections that
// open it.
func TestRestoreIfMissing(t *testing.T) {
	store := newReplica(t)
	dir := t.TempDir()
	path, second := filepath.Join(dir, "app.db"), filepath.Join(dir, "second.db")
	first := uri(path, store, "restore=if-missing")
	conn := open(t, first) // an empty replica: the database begins empty
	exec(t, conn, "CREATE TABLE t (x)", "INSERT INTO t VALUES (1)")
	conn.Close()

	machine := newAlias(t, store)
	moved := uri(second, machine, "restore=if-missing", "_pragma=busy_timeout(10000)")
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			conn, err := sqlite3.Open(moved)
			if err != nil {
				t.Error(err)
				return
			}
			defer conn.Close()
			if err := conn.Exec("INSERT INTO t VALUES (2)"); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	conn = open(t, moved) // the database exists, and stays unchanged
	if got := query(t, conn, "SELECT count(*) FROM t"); got != "5" {
		t.Errorf("%s rows", got)
	}
	conn.Close()
	requireEqual(t, store, second)
	requireIntact(t, store)
}

// A replica that cannot be reached, or that is damaged, does not count as empty.
func TestRestoreFails(t *testing.T) {
	store := newReplica(t)
	dir := t.TempDir()
	path, missing := filepath.Join(dir, "app.db"), filepath.Join(dir, "missing.db")
	conn := open(t, uri(path, store))
	exec(t, conn, "CREATE TABLE t (x)")
	conn.Close()
	machine := newAlias(t, store)
	store.SetBefore(func(context.Context, string, string) error { return storage.ErrPermission })
	if got := openError(t, uri(missing, machine, "restore=if-missing")); !strings.Contains(got, "restore=if-missing") {
		t.Error(got)
	}
	if _, err := os.Stat(missing); err == nil {
		t.Error("a database was created")
	}
	if got := openError(t, uri(missing, machine, "restore=perhaps")); !strings.Contains(got, "expected never, if-missing or if-behind") {
		t.Error(got)
	}
}

// lockByte is the byte that a process locks to replicate a database.
const lockByte = 0x40000000 + 512 + 'w'

// An open fails while another process has the database open, or waits for it with
// lock_timeout.
func TestTwoProcesses(t *testing.T) {
	store := newReplica(t)
	path := filepath.Join(t.TempDir(), "app.db")
	conn := open(t, uri(path, store))
	exec(t, conn, "CREATE TABLE t (x)", "INSERT INTO t VALUES (1)")
	conn.Close()
	other := lockFile(t, path, lockByte)
	start := time.Now()
	if got := openError(t, uri(path, store, "lock_timeout=100ms")); !strings.Contains(got, "another process replicates this database") {
		t.Error(got)
	}
	if took := time.Since(start); took < 100*time.Millisecond {
		t.Errorf("gave up after %s", took)
	}
	if got := openError(t, uri(path, store)); !strings.Contains(got, "lock_timeout") {
		t.Error(got)
	}
	released := make(chan struct{})
	time.AfterFunc(50*time.Millisecond, func() { other.Close(); close(released) })
	conn = open(t, uri(path, store, "lock_timeout=1m"))
	<-released
	exec(t, conn, "INSERT INTO t VALUES (2)")
	conn.Close()
	requireEqual(t, store, path)
	lockFile(t, path, lockByte).Close() // the lock is free again
}

// Replication uses a store without put-if-absent only with fencing=off, and the status
// shows it.
func TestFencingOff(t *testing.T) {
	store := newReplica(t)
	path := filepath.Join(t.TempDir(), "app.db")
	weak := newAlias(t, overwriting{store})
	conn := open(t, uri(path, weak))
	exec(t, conn, "CREATE TABLE t (x)", "INSERT INTO t VALUES (1)")
	if err := flush(t.Context(), path); !errors.Is(err, shipper.ErrNoFencing) || !strings.Contains(err.Error(), "fencing=off") {
		t.Error(err)
	}
	conn.Close()
	if lastTXID(t, store) != 0 {
		t.Error("something was uploaded")
	}
	conn = open(t, uri(path, weak, "fencing=off"))
	settled(t, path)
	if st, _ := statusOf(path); !st.Unfenced {
		t.Errorf("%+v", st)
	}
	conn.Close()
	requireEqual(t, store, path)
}

// overwriting is a store that ignores the condition of put-if-absent.
type overwriting struct{ storage.Store }

func (o overwriting) Create(ctx context.Context, key string, body storage.Body, attrs storage.Attrs) error {
	if err := o.Delete(ctx, key); err != nil {
		return err
	}
	return o.Store.Create(ctx, key, body, attrs)
}

// The configuration file names the replica of a database if nothing else does.
func TestConfigFile(t *testing.T) {
	dir := t.TempDir()
	path, replica, file := filepath.Join(dir, "app.db"), filepath.Join(dir, "replica"), filepath.Join(dir, "walvfs.yml")
	write := func(text string) {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("dbs:\n- path: " + path + "\n  sync-interval: [\n")
	t.Setenv("WALVFS_REPLICA", "")
	t.Setenv("WALVFS_CONFIG", file)
	if got := openError(t, "file:"+path+"?vfs=replicated"); !strings.Contains(got, "walvfs.yml:") {
		t.Error(got)
	}
	write("dbs:\n- path: " + path + "\n  replica: {url: 'file://" + replica + "', sync-interval: 0s}\n")
	conn := open(t, "file:"+path+"?vfs=replicated")
	exec(t, conn, "CREATE TABLE t (x)")
	settled(t, path)
	conn.Close()
	if _, err := os.Stat(filepath.Join(replica, "ltx", "0", "0000000000000001-0000000000000001.ltx")); err != nil {
		t.Error(err)
	}
	if got := openError(t, "file:"+path+".other?vfs=replicated"); !strings.Contains(got, "no replica for this database") {
		t.Error(got)
	}
}
