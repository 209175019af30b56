package vfs_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ncruces/go-sqlite3"

	"github.com/walvfs/walvfs/shipper"
	"github.com/walvfs/walvfs/shipper/storage/storagetest"
	"github.com/walvfs/walvfs/vfs"
)

// In sync mode, the replica has every commit that returned, also while a SELECT that is
// still open on its connection keeps a new database out of WAL mode.
func TestSyncOpenCursor(t *testing.T) {
	store := newReplica(t)
	path := filepath.Join(t.TempDir(), "app.db")
	conn := open(t, uri(path, store, "durability=sync", "close_timeout=1ms"))
	stmt := cursorOverCommit(t, conn)
	other := open(t, uri(path, store, "durability=sync", "close_timeout=1ms"))
	for range 2 {
		if err := conn.Exec("INSERT INTO t VALUES (3)"); !errors.Is(err, vfs.ErrUnconfirmed) || !strings.Contains(vfs.Cause(conn).Error(), "reset the SELECT") {
			t.Errorf("a write behind the open SELECT: %v, %v", err, vfs.Cause(conn))
		}
		if err := other.Exec("INSERT INTO t VALUES (4)"); err == nil {
			t.Error("another connection's commit has returned")
		}
	}
	if tip := lastTXID(t, store); tip != 0 {
		t.Fatalf("the replica has TXID %s", tip)
	}
	stmt.Close()
	requireReplicated(t, store, 2)
	for _, c := range []*sqlite3.Conn{conn, other} {
		exec(t, c, "INSERT INTO t VALUES (5)")
	}
	requireReplicated(t, store, 4)
}

// cursorOverCommit makes the first commit of a new database, with a SELECT that outlives
// the commit.
func cursorOverCommit(t *testing.T, conn *sqlite3.Conn) *sqlite3.Stmt {
	t.Helper()
	exec(t, conn, "BEGIN", "CREATE TABLE t (x)", "INSERT INTO t VALUES (1), (2)")
	stmt, _, err := conn.Prepare("SELECT x FROM t")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { stmt.Close() })
	stmt.Step()
	exec(t, conn, "COMMIT")
	return stmt
}

// TestSyncOpenRows is TestSyncOpenCursor through database/sql.
func TestSyncOpenRows(t *testing.T) {
	store := newReplica(t)
	path := filepath.Join(t.TempDir(), "app.db")
	db, err := sql.Open("sqlite3", uri(path, store, "durability=sync", "close_timeout=1ms"))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	conn, err := db.Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := conn.ExecContext(t.Context(), "BEGIN; CREATE TABLE t (x); INSERT INTO t VALUES (1), (2)"); err != nil {
		t.Fatal(err)
	}
	rows, err := conn.QueryContext(t.Context(), "SELECT x FROM t")
	if err != nil || !rows.Next() {
		t.Fatal(err)
	}
	if _, err := conn.ExecContext(t.Context(), "COMMIT"); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.ExecContext(t.Context(), "INSERT INTO t VALUES (3)"); !errors.Is(err, vfs.ErrUnconfirmed) {
		t.Errorf("a write behind open rows: %v", err)
	}
	rows.Close()
	requireReplicated(t, store, 2)
	if _, err := conn.ExecContext(t.Context(), "INSERT INTO t VALUES (3)"); err != nil {
		t.Error(err)
	}
	requireReplicated(t, store, 3)
}

// In async mode, the status shows that a database out of WAL mode is not replicated, and
// its replication begins as soon as it can be put into WAL mode.
func TestAsyncOpenCursor(t *testing.T) {
	store := newReplica(t)
	path := filepath.Join(t.TempDir(), "app.db")
	conn := open(t, uri(path, store, "close_timeout=1ms"))
	stmt := cursorOverCommit(t, conn)
	if st, _ := statusOf(path); st.Lag == 0 || st.LagCommits != 1 || st.LagBytes == 0 {
		t.Errorf("after the commit: %+v", st)
	}
	eventually(t, "replication tells why it is retrying", func() bool {
		st, _ := statusOf(path)
		return st.State == shipper.Retrying && strings.Contains(st.Err.Error(), "WAL mode") && st.Lag > 0
	})
	exec(t, conn, "INSERT INTO t VALUES (3)")
	if st, _ := statusOf(path); st.LagCommits != 2 {
		t.Errorf("after another commit: %+v", st)
	}
	stmt.Close()
	eventually(t, "the replica has all", func() bool { st, _ := statusOf(path); return st.Lag == 0 && st.LagCommits == 0 })
	requireReplicated(t, store, 3)
}

// The first commit of a new file cannot fail. If the replica does not confirm it, the
// connection's next statement fails, once.
func TestFirstCommitUnconfirmed(t *testing.T) {
	for _, test := range []struct {
		name  string
		after func(t *testing.T, conn *sqlite3.Conn, up func())
		next  error // of the next statement
	}{
		{"the store stays down", func(*testing.T, *sqlite3.Conn, func()) {}, vfs.ErrUnconfirmed},
		{"the store comes back, and nobody waits", func(t *testing.T, _ *sqlite3.Conn, up func()) { up() }, vfs.ErrUnconfirmed},
		{"Wait confirms it", func(t *testing.T, conn *sqlite3.Conn, up func()) {
			up()
			if err := vfs.WaitConn(t.Context(), conn); err != nil {
				t.Error(err)
			}
		}, nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel() // it waits
			store := newReplica(t)
			path := filepath.Join(t.TempDir(), "app.db")
			conn := open(t, uri(path, store, "durability=sync", "sync_timeout=2s", "close_timeout=1ms"))
			down(store)
			exec(t, conn, "CREATE TABLE t (x)")
			test.after(t, conn, func() { store.SetBefore(nil) })
			for i, want := range []error{test.next, nil, nil} {
				if err := conn.Exec("SELECT * FROM t"); !errors.Is(err, want) {
					t.Errorf("statement %d: %v, want %v", i+1, err, want)
				}
				if i == 0 && want != nil && (!errors.Is(vfs.Cause(conn), errInjected) || !strings.Contains(vfs.Cause(conn).Error(), "statement not run")) {
					t.Errorf("the cause is %v", vfs.Cause(conn))
				}
			}
			store.SetBefore(nil)
			settled(t, path)
			exec(t, conn, "INSERT INTO t VALUES (1)")
			requireReplicated(t, store, 1)
		})
	}
}

// However an application sets exclusive locking, the lock is refused, or its commits are
// not acknowledged.
func TestSyncExclusiveAttached(t *testing.T) {
	for _, test := range []struct {
		name string
		main string // its URI
		wal  bool   // the attached database is in WAL mode before
		also string // also attached
	}{
		{"new file", "file:$dir/plain.db", false, ""},
		{"new file, memory", ":memory:", false, ""},
		{"new file, another one in the same transaction", "file:$dir/plain.db", false, "file:$dir/also.db"},
		{"WAL mode", "file:$dir/plain.db", true, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			store := newReplica(t)
			dir := t.TempDir()
			path := filepath.Join(dir, "app.db")
			u := uri(path, store, "durability=sync", "sync_timeout=2s", "close_timeout=1ms")
			if test.wal {
				conn := open(t, u)
				exec(t, conn, "CREATE TABLE t (x)", "CREATE TABLE u (x)")
				conn.Close()
			}
			conn := open(t, strings.ReplaceAll(test.main, "$dir", dir))
			exec(t, conn, "PRAGMA busy_timeout=60000", "CREATE TABLE m (x)", "ATTACH '"+u+"' AS app", "PRAGMA locking_mode=exclusive")
			insert := "INSERT INTO app.t VALUES (1)"
			if test.also != "" {
				exec(t, conn, "ATTACH '"+strings.ReplaceAll(test.also, "$dir", dir)+"' AS also", "CREATE TABLE also.t (x)")
				insert = "BEGIN; INSERT INTO also.t VALUES (1); INSERT INTO app.t VALUES (1); COMMIT"
			}
			if !test.wal {
				exec(t, conn, "CREATE TABLE app.t (x)") // the first commit of a new file
			}
			began := time.Now()
			for range 2 {
				err := conn.Exec(insert)
				if err == nil {
					t.Error("a commit has returned that the replica does not have")
				}
				if !conn.GetAutocommit() {
					exec(t, conn, "ROLLBACK")
				}
				cause := vfs.Cause(conn)
				if cause == nil || !strings.Contains(cause.Error(), "locking_mode=exclusive") {
					t.Errorf("%v, %v", err, cause)
				}
			}
			if took := time.Since(began); took > 20*time.Second {
				t.Errorf("it took %s", took)
			}
			conn.Close()
			if test.wal {
				conn := open(t, u)
				exec(t, conn, "INSERT INTO t VALUES (2)", "VACUUM")
				conn.Close()
				requireEqual(t, store, path)
			}
		})
	}
}

// A refused ATTACH leaves no file that could return the cause: the log contains it.
func TestExclusiveAttachLogged(t *testing.T) {
	c := newCalled(t, func(string) {})
	conn := open(t, c.uri("close_timeout=1ms"))
	exec(t, conn, "CREATE TABLE t (x)")
	const refused = "exclusive locking refused"
	other := open(t, ":memory:")
	exec(t, other, "PRAGMA busy_timeout=60000", "PRAGMA locking_mode=exclusive")
	if err := other.Exec("ATTACH '" + c.uri() + "' AS app; SELECT * FROM app.t"); !errors.Is(err, sqlite3.IOERR_LOCK) {
		t.Errorf("got %v", err)
	}
	c.requireSaid(t, refused)
	other.Close()
	conn.Close()
	c.closed(t)
	if n := c.count(refused); n != 1 {
		t.Errorf("logged %d times, and a close is no such thing", n)
	}
}

// rollbackMode opens a database that a reader keeps out of WAL mode. Replication does not
// try to switch its mode until the store answers.
func rollbackMode(t *testing.T, params ...string) (store *storagetest.Memory, conn, reader *sqlite3.Conn, answer func()) {
	store = newReplica(t)
	path := filepath.Join(t.TempDir(), "app.db")
	plain := open(t, "file:"+path)
	exec(t, plain, "CREATE TABLE t (x)", "INSERT INTO t VALUES (1)")
	reader = open(t, "file:"+path)
	exec(t, reader, "BEGIN", "SELECT * FROM t")
	held := make(chan struct{})
	answer = sync.OnceFunc(func() { close(held) })
	t.Cleanup(answer)
	store.SetBefore(func(ctx context.Context, op, _ string) error {
		if op != "list" {
			return nil
		}
		select {
		case <-held:
		case <-ctx.Done():
		}
		return ctx.Err()
	})
	return store, open(t, uri(path, store, append(params, "close_timeout=1ms")...)), reader, answer
}

// A database that a reader keeps out of WAL mode accepts no write in sync mode. The
// writer itself puts it into WAL mode as soon as possible.
func TestSyncExistingRollback(t *testing.T) {
	store, conn, reader, answer := rollbackMode(t, "durability=sync")
	const insert = "INSERT INTO t VALUES (2)"
	if err := conn.Exec(insert); !errors.Is(err, sqlite3.BUSY) || vfs.Cause(conn) == nil {
		t.Errorf("behind a reader: %v, %v", err, vfs.Cause(conn))
	}
	exec(t, reader, "COMMIT")
	if err := conn.Exec(insert); !errors.Is(err, sqlite3.BUSY) {
		t.Errorf("not in WAL mode yet: %v", err)
	}
	answer()
	exec(t, conn, insert)
	requireReplicated(t, store, 2)
}

// Connections that create a new database at once, in sync mode, do not make each other
// fail.
func TestSyncNewDatabaseCrowd(t *testing.T) {
	store := newReplica(t)
	u := uri(filepath.Join(t.TempDir(), "app.db"), store, "durability=sync")
	const conns = 8
	errs := make(chan error, conns)
	for i := range conns {
		conn := open(t, u)
		go func() {
			errs <- conn.Exec(fmt.Sprintf("PRAGMA busy_timeout=20000; CREATE TABLE IF NOT EXISTS t (x); INSERT INTO t VALUES (%d)", i))
		}()
	}
	for range conns {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
	requireReplicated(t, store, conns)
}
