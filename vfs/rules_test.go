package vfs_test

import (
	"bytes"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/ncruces/go-sqlite3"

	"github.com/walvfs/walvfs/format"
)

// Each test of this file covers one trap of SQLite.

// TestFailedSync: a commit whose sync failed is complete in the WAL, but not committed.
// Even a later COMMIT without changes, which succeeds, does not commit it.
func TestFailedSync(t *testing.T) {
	store := newReplica(t)
	path := filepath.Join(t.TempDir(), "app.db")
	var fail atomic.Bool
	conn := open(t, faulty(path, store, &faultHooks{sync: func(file string) error {
		// The cut also syncs the WAL, but not while this is set.
		if file == "wal" && fail.Load() {
			return errInjected
		}
		return nil
	}}, "_pragma=synchronous(full)"))
	exec(t, conn, "CREATE TABLE t (x)", "INSERT INTO t VALUES (1)")
	settled(t, path)

	release := hold(t, store, conn)
	exec(t, conn, "INSERT INTO t VALUES (2)")
	fail.Store(true)
	if err := conn.Exec("INSERT INTO t VALUES (3)"); err == nil {
		t.Fatal("the sync did not fail")
	}
	fail.Store(false)
	exec(t, conn, "BEGIN IMMEDIATE", "COMMIT")
	release()
	settled(t, path)
	if got := replicaRows(t, store); got != "2" {
		t.Fatalf("the replica has %s rows: 2 were committed", got)
	}
	exec(t, conn, "INSERT INTO t VALUES (4)")
	conn.Close()
	requireEqual(t, store, path)
}

// TestTwoFiles: the first file of a transaction whose second file fails is committed,
// without CommitPhaseTwo.
func TestTwoFiles(t *testing.T) {
	for _, psow := range []string{"psow=1", "psow=0"} {
		t.Run(psow, func(t *testing.T) {
			dir := t.TempDir()
			first, second := filepath.Join(dir, "first.db"), filepath.Join(dir, "second.db")
			store, other := newReplica(t), newReplica(t)
			var fail atomic.Bool
			conn := open(t, uri(first, store, psow, "_pragma=synchronous(full)"))
			exec(t, conn, "CREATE TABLE t (x)")
			exec(t, conn, "ATTACH '"+faulty(second, other, &faultHooks{write: func(file string, p []byte, _ int64) (int, error) {
				if file == "wal" && fail.Load() {
					return 0, errInjected
				}
				return len(p), nil
			}})+"' AS two", "CREATE TABLE two.u (x)")
			settled(t, first)
			settled(t, second)

			fail.Store(true)
			if err := conn.Exec("BEGIN; INSERT INTO t VALUES (1); INSERT INTO u VALUES (1); COMMIT"); err == nil {
				t.Fatal("the second file did not fail")
			}
			fail.Store(false)
			conn.Exec("ROLLBACK")
			if got := query(t, conn, "SELECT count(*) FROM t"); got != "1" {
				t.Fatalf("the first file has %s rows: this is not the trap", got)
			}
			eventually(t, "the first file's commit is in its replica", func() bool { return replicaRows(t, store) == "1" })
		})
	}
}

// TestResetDuringCut: a read mark of 0 does not stop a reset. The cut notices that the
// frames it is about to read are overwritten.
func TestResetDuringCut(t *testing.T) {
	store := newReplica(t)
	path := filepath.Join(t.TempDir(), "app.db")
	var during atomic.Pointer[func()]
	hooks := &faultHooks{read: func(file string, p []byte, off int64) error {
		if file == "wal" && len(p) >= 512 && off > 32 {
			if fn := during.Swap(nil); fn != nil {
				(*fn)()
			}
		}
		return nil
	}}
	conn := open(t, faulty(path, store, hooks))
	exec(t, conn, "CREATE TABLE t (x)", manyRows)
	settled(t, path)

	// A checkpoint copies every frame before the cut begins.
	release := hold(t, store, conn)
	exec(t, conn, "UPDATE t SET x = randomblob(500) WHERE rowid <= 200")
	checkpoint(t, conn, sqlite3.CHECKPOINT_FULL)
	overwrite := func() {
		before := walHeader(t, path)
		exec(t, conn, "UPDATE t SET x = randomblob(400)", manyRows, manyRows)
		if bytes.Equal(before, walHeader(t, path)) {
			t.Error("the WAL was not reset during the cut")
		}
	}
	during.Store(&overwrite)
	release()
	settled(t, path)
	if during.Load() != nil {
		t.Fatal("no frame was read")
	}
	settled(t, path) // the commits during the cut
	requireEqual(t, store, path)
	requireIntact(t, store)
}

func walHeader(t *testing.T, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path + "-wal")
	if err != nil {
		t.Fatal(err)
	}
	return b[:format.WALHeaderSize]
}

// TestFailedCut: the pages of a failed cut are in the next cut.
func TestFailedCut(t *testing.T) {
	for _, where := range []string{"read", "sync"} {
		t.Run(where, func(t *testing.T) {
			store := newReplica(t)
			path := filepath.Join(t.TempDir(), "app.db")
			var fail atomic.Bool
			conn := open(t, faulty(path, store, &faultHooks{
				read: func(file string, p []byte, off int64) error {
					// The page of a frame; only the cut reads with this size.
					if where == "read" && file == "wal" && len(p) >= 512 && fail.Swap(false) {
						return errInjected
					}
					return nil
				},
				sync: func(file string) error {
					if where == "sync" && file == "wal" && fail.Swap(false) {
						return errInjected
					}
					return nil
				},
			}, "_pragma=synchronous(normal)"))
			exec(t, conn, "CREATE TABLE t (x)", manyRows)
			settled(t, path)
			release := hold(t, store, conn)
			exec(t, conn, "UPDATE t SET x = randomblob(500) WHERE rowid % 10 = 0")
			fail.Store(true)
			release()
			settled(t, path)
			if fail.Load() {
				t.Fatal("nothing failed")
			}
			conn.Close()
			requireEqual(t, store, path)
		})
	}
}

// TestToldOutOfOrder: the connection that commits first may get CommitPhaseTwo last. The
// cut that the other connection's success wakes includes both commits.
func TestToldOutOfOrder(t *testing.T) {
	store := newReplica(t)
	path := filepath.Join(t.TempDir(), "app.db")
	var block atomic.Bool
	blocked, release := make(chan struct{}), make(chan struct{})
	hooks := &faultHooks{told: func() error {
		if block.CompareAndSwap(true, false) {
			close(blocked)
			<-release
		}
		return sqlite3.NOTFOUND
	}}
	a, b := open(t, faulty(path, store, hooks)), (*sqlite3.Conn)(nil)
	exec(t, a, "CREATE TABLE t (x)")
	b = open(t, faulty(path, store, hooks))
	settled(t, path)

	block.Store(true)
	var wg sync.WaitGroup
	wg.Go(func() { a.Exec("INSERT INTO t VALUES ('a')") })
	<-blocked
	exec(t, b, "INSERT INTO t VALUES ('b')")
	settled(t, path)
	if got := replicaRows(t, store); got != "2" {
		t.Errorf("the replica has %s rows", got)
	}
	close(release)
	wg.Wait()
}
