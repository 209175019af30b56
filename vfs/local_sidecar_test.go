//go:build linux

package vfs_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ncruces/go-sqlite3"

	"github.com/walvfs/walvfs/shipper/sidecar"
	"github.com/walvfs/walvfs/shipper/storage/storagetest"
	"github.com/walvfs/walvfs/vfs"
)

// An obstacle keeps the sidecar of a database from being written, whoever the
// process belongs to.
type obstacle struct {
	name   string
	put    func(sidecar string, store *storagetest.Memory) error
	remove func(sidecar string, store *storagetest.Memory) error
}

var obstacles = []obstacle{{
	"a directory has the name of its draft",
	func(path string, _ *storagetest.Memory) error {
		return os.MkdirAll(filepath.Join(path+".tmp", "in the way"), 0o700)
	},
	func(path string, _ *storagetest.Memory) error { return os.RemoveAll(path + ".tmp") },
}, {
	"the disk is full",
	func(path string, store *storagetest.Memory) error {
		// A draft that has failed is removed. There is one before each upload.
		store.SetBefore(func(_ context.Context, op, _ string) error {
			if op == "create" {
				os.Symlink("/dev/full", path+".tmp")
			}
			return nil
		})
		return os.Symlink("/dev/full", path+".tmp")
	},
	func(path string, store *storagetest.Memory) error {
		store.SetBefore(nil)
		return os.RemoveAll(path + ".tmp")
	},
}, {
	"a directory has its name",
	func(path string, _ *storagetest.Memory) error {
		return os.MkdirAll(filepath.Join(path, "in the way"), 0o700)
	},
	func(path string, _ *storagetest.Memory) error { return os.RemoveAll(path) },
}}

// A hampered is a database whose sidecar meets an obstacle.
type hampered struct {
	t     *testing.T
	store *storagetest.Memory
	path  string
	uri   string
	log   *logLines
}

func newHampered(t *testing.T) *hampered {
	h := &hampered{t: t, store: newReplica(t), path: filepath.Join(t.TempDir(), "app.db")}
	name, log := newVFS(t, vfs.Options{})
	h.uri, h.log = strings.Replace(uri(h.path, h.store), "vfs=replicated&", "vfs="+name+"&", 1), log
	return h
}

func (h *hampered) do(action func(string, *storagetest.Memory) error) {
	h.t.Helper()
	if err := action(h.path+sidecar.Suffix, h.store); err != nil {
		h.t.Fatal(err)
	}
}

// write has the application commit in every way, and the replica get it.
func (h *hampered) write(conn *sqlite3.Conn) {
	h.t.Helper()
	for range 2 {
		exec(h.t, conn, "UPDATE t SET x = randomblob(400) WHERE rowid % 10 = 0")
		settled(h.t, h.path)
		checkpoint(h.t, conn, sqlite3.CHECKPOINT_TRUNCATE)
		exec(h.t, conn, "INSERT INTO t VALUES ('after a reset')")
		settled(h.t, h.path)
	}
}

func (h *hampered) close(conn *sqlite3.Conn) {
	h.t.Helper()
	if err := conn.Close(); err != nil {
		h.t.Error(err)
	}
}

// requireWarned fails unless the log has heard once a run that there is no sidecar.
func (h *hampered) requireWarned(runs int) {
	h.t.Helper()
	if n := len(h.log.with("level=WARN", "the sidecar cannot be written")); n != runs {
		h.t.Errorf("the log says %d times in %d runs that the sidecar cannot be written:\n%s", n, runs, h.log.with(""))
	}
}

// TestNeverASidecar: without a sidecar the replica gets everything while the
// application runs, and the log says that it is missing. After a restart the
// application goes on, and the replica when that is safe.
func TestNeverASidecar(t *testing.T) {
	for _, o := range obstacles {
		t.Run(o.name, func(t *testing.T) {
			h := newHampered(t)
			h.do(o.put)
			conn := open(t, h.uri)
			exec(t, conn, "CREATE TABLE t (x)", manyRows)
			h.write(conn)
			h.requireWarned(1)
			h.close(conn)
			requireEqual(t, h.store, h.path)

			conn = open(t, h.uri)
			exec(t, conn, "INSERT INTO t VALUES ('in the second run')")
			requireForgotten(t, h.path, h.log)
			exec(t, conn, "INSERT INTO t VALUES ('after that')")
			h.close(conn)
			h.do(o.remove)
			conn = open(t, h.uri+"&diverged=overwrite")
			h.write(conn)
			h.close(conn)
			conn = open(t, h.uri) // which knows the replica again
			h.write(conn)
			h.close(conn)
			requireEqual(t, h.store, h.path)
			requireIntact(t, h.store)
		})
	}
}

// TestSidecarCannotBeReplaced: one that could be written once is enough for the
// next run to know the replica.
func TestSidecarCannotBeReplaced(t *testing.T) {
	for _, o := range obstacles[:2] { // those in the way of a new one, not of the old
		t.Run(o.name, func(t *testing.T) {
			h := newHampered(t)
			conn := open(t, h.uri)
			exec(t, conn, "CREATE TABLE t (x)", manyRows)
			settled(t, h.path)
			h.do(o.put)
			h.write(conn)
			h.requireWarned(0) // what is appended does
			h.close(conn)
			h.requireWarned(1)
			requireEqual(t, h.store, h.path)
			conn = open(t, h.uri)
			h.write(conn)
			h.close(conn)
			requireEqual(t, h.store, h.path)
			if again := h.log.with("uploaded again"); len(again) > 0 {
				t.Errorf("continuity was lost: %s", again)
			}
			requireIntact(t, h.store)
		})
	}
}
