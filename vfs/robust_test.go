package vfs_test

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/ncruces/go-sqlite3"

	"github.com/walvfs/walvfs/vfs"
)

// An open ships commits of other programs, or of an earlier run, without waiting for the
// next commit.
func TestOpenShips(t *testing.T) {
	store := newReplica(t)
	path := filepath.Join(t.TempDir(), "app.db")
	conn := open(t, uri(path, store))
	exec(t, conn, "CREATE TABLE t (x)")
	conn.Close()
	plain := open(t, "file:"+path)
	exec(t, plain, "INSERT INTO t VALUES (1)")
	plain.Close()
	conn = open(t, uri(path, store))
	query(t, conn, "SELECT count(*) FROM t")
	eventually(t, "the replica has the row", func() bool { return replicaRows(t, store) == "1" })
}

// Flush finds databases by the names in their URIs.
func TestDrainByName(t *testing.T) {
	store := newReplica(t)
	dir := t.TempDir()
	path, link := filepath.Join(dir, "app.db"), filepath.Join(dir, "link")
	conn := open(t, uri(path, store))
	exec(t, conn, "CREATE TABLE t (x)")
	if err := os.Symlink(path, link); err != nil {
		t.Fatal(err)
	}
	t.Chdir(dir)
	for _, name := range []string{"app.db", "./app.db", link, path} {
		if err := flush(t.Context(), name); err != nil {
			t.Error(err)
		}
		if _, ok := statusOf(name); !ok {
			t.Errorf("%s has no status", name)
		}
	}
	plain := filepath.Join(dir, "plain.db")
	exec(t, open(t, "file:"+plain), "CREATE TABLE t (x)")
	if err := flush(t.Context(), plain); !errors.Is(err, vfs.ErrNotReplicated) {
		t.Error(err)
	}
	if err := flush(t.Context(), "none.db"); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
}

// A logger may write to the database that it logs about.
func TestLoggerInDatabase(t *testing.T) {
	h := &databaseHandler{}
	vfs.Register("replicated-dblog", vfs.Options{Logger: slog.New(h)})
	store := newReplica(t)
	path := filepath.Join(t.TempDir(), "app.db")
	u := strings.Replace(uri(path, store), "vfs=replicated&", "vfs=replicated-dblog&", 1)
	conn := open(t, u)
	exec(t, conn, "CREATE TABLE t (x)", "CREATE TABLE log (x)", manyRows)
	settled(t, path)
	log := open(t, u+"&_pragma=busy_timeout(5000)")
	exec(t, log, "PRAGMA wal_autocheckpoint=1", "INSERT INTO log VALUES (1)")
	settled(t, path)
	h.conn.Store(log)
	plain := open(t, "file:"+path)
	exec(t, plain, "PRAGMA wal_checkpoint(TRUNCATE)", "INSERT INTO t VALUES (1)", "PRAGMA wal_checkpoint(FULL)")
	plain.Close()
	exec(t, conn, "PRAGMA busy_timeout=5000", "INSERT INTO t VALUES (2)")
	settled(t, path)
	if h.lines.Load() == 0 {
		t.Error("nothing was logged")
	}
	h.conn.Store(nil)
	conn.Close()
	log.Close()
	requireEqual(t, store, path)
}

type databaseHandler struct {
	conn  atomic.Pointer[sqlite3.Conn]
	lines atomic.Int64
}

func (h *databaseHandler) Enabled(context.Context, slog.Level) bool { return true }
func (h *databaseHandler) WithAttrs([]slog.Attr) slog.Handler       { return h }
func (h *databaseHandler) WithGroup(string) slog.Handler            { return h }

func (h *databaseHandler) Handle(_ context.Context, r slog.Record) error {
	if conn := h.conn.Load(); conn != nil && r.Level >= slog.LevelWarn {
		h.lines.Add(1)
		return conn.Exec("INSERT INTO log VALUES ('" + r.Message + "')")
	}
	return nil
}

// A later run recognizes an upload that an earlier run gave up, but the store completed.
func TestLateUpload(t *testing.T) {
	store := newReplica(t)
	path := filepath.Join(t.TempDir(), "app.db")
	late := newLate(t, store)
	u := uri(path, late, "close_timeout=50ms")
	conn := open(t, u)
	exec(t, conn, "CREATE TABLE t (x)")
	settled(t, path)
	late.delay.Store(true)
	exec(t, conn, "INSERT INTO t VALUES (1)")
	conn.Close()
	late.delay.Store(false)
	conn = open(t, u)
	exec(t, conn, "INSERT INTO t VALUES (2)")
	settled(t, path)
	conn.Close()
	requireEqual(t, store, path)
	conn = open(t, u)
	exec(t, conn, "INSERT INTO t VALUES (3)")
	settled(t, path)
	conn.Close()
	requireEqual(t, store, path)
	requireIntact(t, store)
}
