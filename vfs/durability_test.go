package vfs_test

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ncruces/go-sqlite3"
	"github.com/ncruces/go-sqlite3/driver"

	"github.com/walvfs/walvfs/format"
	"github.com/walvfs/walvfs/shipper"
	"github.com/walvfs/walvfs/shipper/storage"
	"github.com/walvfs/walvfs/vfs"
)

// A commit stops waiting when its connection's context ends.
func TestSyncInterrupt(t *testing.T) {
	store := newReplica(t)
	path := filepath.Join(t.TempDir(), "app.db")
	db, err := driver.Open(uri(path, store, "durability=sync", "sync_timeout=off", "close_timeout=1ms"))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.Exec("CREATE TABLE t (x)"); err != nil {
		t.Fatal(err)
	}
	down(store)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := db.ExecContext(ctx, "INSERT INTO t VALUES (1)"); err == nil {
		t.Error("the commit has returned")
	}
	store.SetBefore(nil)
	if _, err := db.Exec("INSERT INTO t VALUES (2)"); err != nil {
		t.Error(err)
	}
	requireReplicated(t, store, 2)
}

// Commits of many connections share uploads, and each returns after its own upload.
func TestGroupCommit(t *testing.T) {
	store := newReplica(t)
	path := filepath.Join(t.TempDir(), "app.db")
	const conns, commits = 8, 20
	db, err := driver.Open(uri(path, store, "durability=sync", "_pragma=busy_timeout(20000)"))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	db.SetMaxOpenConns(conns)
	if _, err := db.Exec("CREATE TABLE t (x)"); err != nil {
		t.Fatal(err)
	}
	store.SetBefore(func(_ context.Context, op, _ string) error {
		if op == "create" {
			time.Sleep(20 * time.Millisecond)
		}
		return nil
	})
	before := lastTXID(t, store)
	var returned atomic.Int64
	errs := make(chan error, conns)
	for range conns {
		go func() {
			for range commits {
				if _, err := db.Exec("INSERT INTO t VALUES (1)"); err != nil {
					errs <- err
					return
				}
				returned.Add(1)
			}
			errs <- nil
		}()
	}
	for checked, done := 0, 0; done < conns; {
		select {
		case err := <-errs:
			if done++; err != nil {
				t.Error(err)
			}
		default:
			least := returned.Load()
			_, conn := restored(t, store, 0)
			var rows int64
			fmt.Sscan(query(t, conn, "SELECT count(*) FROM t"), &rows)
			conn.Close()
			if checked++; rows < least {
				t.Fatalf("%d commits have returned, the replica has %d", least, rows)
			}
		}
	}
	requireReplicated(t, store, conns*commits)
	if uploads := lastTXID(t, store) - before; uploads > conns*commits/2 {
		t.Errorf("%d uploads for %d commits of %d connections", uploads, conns*commits, conns)
	}
}

// Waiting works through database/sql.
func TestWaitDatabaseSQL(t *testing.T) {
	store := newReplica(t)
	path := filepath.Join(t.TempDir(), "app.db")
	db, err := sql.Open("sqlite3", uri(path, store, "interval=1h"))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	conn, err := db.Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	for range 2 {
		if _, err := conn.ExecContext(t.Context(), "CREATE TABLE IF NOT EXISTS t (x); INSERT INTO t VALUES (1)"); err != nil {
			t.Fatal(err)
		}
		if err := conn.Raw(func(c any) error { return vfs.WaitConn(t.Context(), c.(driver.Conn).Raw()) }); err != nil {
			t.Fatal(err)
		}
	}
	requireReplicated(t, store, 2)
}

// lagging waits until the replica lacks a commit that is older than a duration.
func lagging(t *testing.T, path string, than time.Duration) {
	t.Helper()
	eventually(t, "the replica lags", func() bool { st, _ := statusOf(path); return st.Lag > than })
}

// While the replica is too far behind, writes fail and change nothing, and reads still
// work.
func TestMaxLag(t *testing.T) {
	store := newReplica(t)
	path := filepath.Join(t.TempDir(), "app.db")
	conn := open(t, uri(path, store, "max_lag=100ms", "close_timeout=1ms"))
	exec(t, conn, "CREATE TABLE t (x)")
	settled(t, path)
	time.Sleep(150 * time.Millisecond)        // longer than max_lag
	exec(t, conn, "INSERT INTO t VALUES (1)") // the replica had every commit
	settled(t, path)
	down(store)
	exec(t, conn, "INSERT INTO t VALUES (2)")
	lagging(t, path, 100*time.Millisecond)
	for range 2 {
		if err := conn.Exec("INSERT INTO t VALUES (3)"); !errors.Is(err, vfs.ErrLag) || !errors.Is(err, sqlite3.IOERR) {
			t.Errorf("got %v", err)
		}
		checkpoint(t, conn, sqlite3.CHECKPOINT_TRUNCATE)
	}
	// A transaction that outgrows the cache also fails.
	if err := conn.Exec("PRAGMA cache_size = 5; BEGIN; INSERT INTO t SELECT randomblob(3000) FROM generate_series(1, 100); COMMIT"); !errors.Is(err, vfs.ErrLag) {
		t.Errorf("got %v", err)
	}
	if !conn.GetAutocommit() {
		exec(t, conn, "ROLLBACK")
	}
	if got := query(t, conn, "SELECT count(*) FROM t"); got != "2" {
		t.Errorf("%s rows", got)
	}
	store.SetBefore(nil)
	settled(t, path)
	exec(t, conn, "INSERT INTO t VALUES (4)")
	settled(t, path)
	requireReplicated(t, store, 3)
}

// A fenced database refuses writes at once with on_fenced=readonly; otherwise it accepts
// them.
func TestOnFenced(t *testing.T) {
	for _, on := range []string{"continue", "readonly"} {
		store := newReplica(t)
		path := filepath.Join(t.TempDir(), "app.db")
		conn := open(t, uri(path, store, "on_fenced="+on, "close_timeout=1ms"))
		exec(t, conn, "CREATE TABLE t (x)", "INSERT INTO t VALUES (1)")
		tip := settled(t, path)
		key := store.Layout().Key(format.LevelRaw, tip+1, tip+1)
		put(t, store, key, []byte("another writer's"))
		exec(t, conn, "INSERT INTO t VALUES (2)")
		if err := flush(t.Context(), path); !errors.Is(err, shipper.ErrFenced) {
			t.Fatalf("got %v", err)
		}
		err := conn.Exec("INSERT INTO t VALUES (3)")
		if refused := errors.Is(err, vfs.ErrFenced); refused != (on == "readonly") || !refused && err != nil {
			t.Errorf("%s: got %v", on, err)
		}
		if got := query(t, conn, "SELECT count(*) FROM t WHERE x < 3"); got != "2" {
			t.Errorf("%s rows", got)
		}
	}
}

// In sync mode, commits of a fenced database do not wait in vain.
func TestSyncFenced(t *testing.T) {
	store := newReplica(t)
	path := filepath.Join(t.TempDir(), "app.db")
	conn := open(t, uri(path, store, "durability=sync", "sync_timeout=off", "close_timeout=1ms"))
	exec(t, conn, "CREATE TABLE t (x)")
	tip := lastTXID(t, store)
	put(t, store, store.Layout().Key(format.LevelRaw, tip+1, tip+1), []byte("another writer's"))
	for range 2 {
		if err := conn.Exec("INSERT INTO t VALUES (1)"); !errors.Is(err, vfs.ErrUnconfirmed) || !errors.Is(vfs.Cause(conn), shipper.ErrFenced) {
			t.Errorf("got %v", err)
		}
	}
}

// The status contains the replica's lag and the cost of replication.
func TestStatusPragma(t *testing.T) {
	store := newReplica(t)
	path := filepath.Join(t.TempDir(), "app.db")
	conn := open(t, uri(path, store, "close_timeout=1ms"))
	exec(t, conn, "CREATE TABLE t (x)")
	settled(t, path)
	status := func() (s struct {
		State string
		Error string
		Kind  string `json:"error_kind"`
		Tip   struct {
			TXID string
			Time time.Time
		}
		Lag struct {
			Seconds        float64
			Commits, Bytes int64
		}
		Uploads, Bytes, Failures int64
		Requests                 shipper.Requests
	}) {
		t.Helper()
		if err := json.Unmarshal([]byte(query(t, conn, "PRAGMA walvfs_status")), &s); err != nil {
			t.Fatal(err)
		}
		return s
	}
	if s := status(); s.State != "streaming" || s.Tip.TXID != lastTXID(t, store).String() || time.Since(s.Tip.Time) > time.Minute ||
		s.Lag.Seconds != 0 || s.Lag.Commits != 0 || s.Lag.Bytes != 0 || s.Uploads == 0 || s.Bytes == 0 || s.Requests.Put == 0 || s.Requests.List == 0 {
		t.Errorf("%+v", s)
	}
	down(store)
	for range 5 {
		exec(t, conn, "INSERT INTO t VALUES (1)")
	}
	eventually(t, "it retries", func() bool { return status().State == "retrying" })
	if s := status(); s.Lag.Seconds == 0 || s.Lag.Commits != 5 || s.Lag.Bytes == 0 || s.Error == "" || s.Kind != "store" || s.Failures == 0 {
		t.Errorf("%+v", s)
	}
	checkpoint(t, conn, sqlite3.CHECKPOINT_TRUNCATE)
	exec(t, conn, "INSERT INTO t VALUES (1)")
	if s := status(); s.Lag.Commits != 6 {
		t.Errorf("%+v", s)
	}
	store.SetBefore(nil)
	settled(t, path)
	if s := status(); s.State != "streaming" || s.Lag.Seconds != 0 || s.Lag.Commits != 0 || s.Lag.Bytes != 0 || s.Error != "" {
		t.Errorf("%+v", s)
	}
}

// Shutdown ships every commit of every database, or names the replica that lacks some.
func TestShutdown(t *testing.T) {
	good, bad := newReplica(t), newReplica(t)
	dir := t.TempDir()
	a := open(t, uri(filepath.Join(dir, "a.db"), good, "interval=1h", "close_timeout=1ms"))
	b := open(t, uri(filepath.Join(dir, "b.db"), bad, "interval=1h", "close_timeout=1ms"))
	for _, conn := range []*sqlite3.Conn{a, b} {
		exec(t, conn, "CREATE TABLE t (x)", "INSERT INTO t VALUES (1)")
	}
	if err := vfs.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	requireReplicated(t, good, 1)
	requireReplicated(t, bad, 1)
	down(bad)
	for _, conn := range []*sqlite3.Conn{a, b} {
		exec(t, conn, "INSERT INTO t VALUES (1)")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if err := vfs.Shutdown(ctx); !errors.Is(err, errInjected) {
		t.Errorf("got %v", err)
	}
	requireReplicated(t, good, 2)
	if n := len(vfs.Databases()); n < 2 {
		t.Errorf("%d databases", n)
	}
}

func put(t *testing.T, store storage.Store, key string, b []byte) {
	t.Helper()
	if err := store.Create(t.Context(), key, bytes.NewReader(b), storage.Attrs{Time: time.Now()}); err != nil {
		t.Fatal(err)
	}
}
