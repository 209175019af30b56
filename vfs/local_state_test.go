//go:build linux

package vfs_test

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ncruces/go-sqlite3"

	"github.com/walvfs/walvfs/internal/statefile"
	"github.com/walvfs/walvfs/shipper/storage/storagetest"
	"github.com/walvfs/walvfs/vfs"
)

// An obstacle keeps the state file of a database from being written, whichever user runs
// the process.
type obstacle struct {
	name   string
	put    func(state string) error
	remove func(state string) error
}

var obstacles = []obstacle{{
	"the disk is full",
	func(state string) error {
		fullDisks.Store(strings.TrimSuffix(state, statefile.Suffix), true)
		return nil
	},
	func(state string) error {
		fullDisks.Delete(strings.TrimSuffix(state, statefile.Suffix))
		return nil
	},
}, {
	"a directory has its name",
	func(state string) error { return os.MkdirAll(filepath.Join(state, "in the way"), 0o700) },
	os.RemoveAll,
}, {
	"a symbolic link has its name",
	func(state string) error { return os.Symlink("elsewhere", state) },
	os.Remove,
}}

// A hampered is a database whose state file has an obstacle.
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

func (h *hampered) do(action func(state string) error) {
	h.t.Helper()
	if err := action(h.path + statefile.Suffix); err != nil {
		h.t.Fatal(err)
	}
}

// write makes the application commit in every way, and waits for the replica.
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

// requireWarned fails unless each run has logged once that it has no state file.
func (h *hampered) requireWarned(runs int) {
	h.t.Helper()
	if n := len(h.log.With("level=WARN", "writing the state file failed")); n != runs {
		h.t.Errorf("the log says %d times in %d runs that the state file cannot be written:\n%s", n, runs, h.log.With(""))
	}
}

// TestNeverAStateFile: without a state file, the replica gets every commit while the
// application runs, and the log reports the missing file. After a restart, the
// application continues, and replication continues when that is safe.
func TestNeverAStateFile(t *testing.T) {
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
			conn = open(t, h.uri) // which recognizes the replica again
			h.write(conn)
			h.close(conn)
			requireEqual(t, h.store, h.path)
			requireIntact(t, h.store)
		})
	}
}

// TestStateFileGetsAnotherName: the next run does not write to a state file with a second
// hard link, but still recognizes the replica. The run that has the file open continues
// to write to it.
func TestStateFileGetsAnotherName(t *testing.T) {
	h := newHampered(t)
	conn := open(t, h.uri)
	exec(t, conn, "CREATE TABLE t (x)", manyRows)
	settled(t, h.path)
	linked := filepath.Join(t.TempDir(), "linked")
	h.do(func(state string) error { return os.Link(state, linked) })
	h.write(conn)
	h.close(conn)
	h.requireWarned(0)
	requireEqual(t, h.store, h.path)
	before, err := os.ReadFile(linked)
	if err != nil {
		t.Fatal(err)
	}
	conn = open(t, h.uri)
	h.write(conn)
	h.close(conn)
	h.requireWarned(1)
	requireEqual(t, h.store, h.path)
	if again := h.log.With("uploading the whole database again"); len(again) > 0 {
		t.Errorf("continuity was lost: %s", again)
	}
	if after, err := os.ReadFile(linked); err != nil || !bytes.Equal(after, before) {
		t.Errorf("the file with two names was written to: %v", err)
	}
	requireIntact(t, h.store)
}
