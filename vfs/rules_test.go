package vfs_test

import (
	"bytes"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ncruces/go-sqlite3"

	"github.com/walvfs/walvfs/format"
	"github.com/walvfs/walvfs/shipper/storage"
	"github.com/walvfs/walvfs/vfs"
)

// The tests of this file take one trap of SQLite each.

// spilling is a page cache so small that a transaction outgrows it.
const spilling = "PRAGMA cache_size=10; PRAGMA cache_spill=1"

const manyRows = "INSERT INTO t SELECT randomblob(500) FROM generate_series(1, 500)"

// replicaRows counts the rows of table t in the replica's newest state.
func replicaRows(t *testing.T, store storage.Store) string {
	t.Helper()
	_, conn := restored(t, store, 0)
	defer conn.Close()
	return query(t, conn, "SELECT count(*) FROM t")
}

// TestSpill: frames of a transaction that is not over are in the WAL, with and
// without salts, and are rewritten before it commits. No cut holds them.
func TestSpill(t *testing.T) {
	for _, psow := range []string{"psow=1", "psow=0"} {
		t.Run(psow, func(t *testing.T) {
			store := newReplica(t)
			path := filepath.Join(t.TempDir(), "app.db")
			conn := open(t, uri(path, store, psow))
			exec(t, conn, "CREATE TABLE t (x)", spilling, "INSERT INTO t VALUES (1)")
			exec(t, conn, "BEGIN", manyRows)
			settled(t, path)
			if got := replicaRows(t, store); got != "1" {
				t.Fatalf("the replica has %s rows of an open transaction", got)
			}
			exec(t, conn, "UPDATE t SET x = randomblob(400)", "COMMIT")
			settled(t, path)
			if got := replicaRows(t, store); got != "501" {
				t.Fatalf("the replica has %s rows", got)
			}
			// The next transaction overwrites the frames of this one.
			exec(t, conn, "BEGIN", manyRows, "ROLLBACK")
			settled(t, path)
			exec(t, conn, "DELETE FROM t WHERE rowid < 100")
			conn.Close()
			requireEqual(t, store, path)
		})
	}
}

// TestFailedSync: a commit whose sync failed is in the WAL, complete, and did not
// happen. Even a COMMIT that succeeds after it, of nothing, does not make it so.
func TestFailedSync(t *testing.T) {
	store := newReplica(t)
	path := filepath.Join(t.TempDir(), "app.db")
	var fail atomic.Bool
	conn := open(t, faulty(path, store, &faultHooks{sync: func(file string) error {
		// The cut syncs the WAL too, but not while this is set.
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

// TestTwoFiles: the first file of a transaction whose second file fails is
// committed, and nobody says so.
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

// TestResets: what was committed and not cut before the WAL starts over is in
// the next cut, whichever way it starts over.
func TestResets(t *testing.T) {
	for name, reset := range map[string]func(t *testing.T, conn *sqlite3.Conn, path string){
		"next writer": func(t *testing.T, conn *sqlite3.Conn, _ string) {
			checkpoint(t, conn, sqlite3.CHECKPOINT_FULL)
			exec(t, conn, "INSERT INTO t VALUES ('next')")
		},
		"next writer rolls back": func(t *testing.T, conn *sqlite3.Conn, _ string) {
			checkpoint(t, conn, sqlite3.CHECKPOINT_FULL)
			exec(t, conn, "BEGIN", manyRows, "ROLLBACK")
		},
		"restart": func(t *testing.T, conn *sqlite3.Conn, _ string) {
			checkpoint(t, conn, sqlite3.CHECKPOINT_RESTART)
		},
		"truncate": func(t *testing.T, conn *sqlite3.Conn, _ string) {
			checkpoint(t, conn, sqlite3.CHECKPOINT_TRUNCATE)
		},
		"many": func(t *testing.T, conn *sqlite3.Conn, path string) {
			exec(t, conn, "PRAGMA wal_autocheckpoint=1")
			for i := range 30 {
				exec(t, conn, fmt.Sprintf("UPDATE t SET x = randomblob(700) WHERE rowid = %d", i+1))
			}
		},
		"foreign": func(t *testing.T, _ *sqlite3.Conn, path string) {
			plain := open(t, "file:"+path)
			defer plain.Close()
			exec(t, plain, "UPDATE t SET x = randomblob(600) WHERE rowid BETWEEN 300 AND 320",
				"PRAGMA wal_checkpoint(FULL)", "INSERT INTO t VALUES ('theirs')")
		},
		"foreign, then ours": func(t *testing.T, conn *sqlite3.Conn, path string) {
			plain := open(t, "file:"+path)
			defer plain.Close()
			exec(t, plain, "UPDATE t SET x = randomblob(600) WHERE rowid BETWEEN 300 AND 320",
				"PRAGMA wal_checkpoint(FULL)", "UPDATE t SET x = randomblob(600) WHERE rowid BETWEEN 400 AND 420", "PRAGMA wal_checkpoint(FULL)")
			exec(t, conn, "INSERT INTO t VALUES ('ours')")
		},
		"foreign truncate": func(t *testing.T, _ *sqlite3.Conn, path string) {
			plain := open(t, "file:"+path)
			defer plain.Close()
			exec(t, plain, "UPDATE t SET x = randomblob(600) WHERE rowid BETWEEN 300 AND 320", "PRAGMA wal_checkpoint(TRUNCATE)")
		},
	} {
		t.Run(name, func(t *testing.T) {
			store := newReplica(t)
			path := filepath.Join(t.TempDir(), "app.db")
			conn := open(t, uri(path, store))
			exec(t, conn, "PRAGMA auto_vacuum=full", "CREATE TABLE t (x)", manyRows, spilling)
			settled(t, path)
			release := hold(t, store, conn)
			exec(t, conn, "UPDATE t SET x = randomblob(600) WHERE rowid < 100", "DELETE FROM t WHERE rowid BETWEEN 200 AND 210")
			reset(t, conn, path)
			release()
			settled(t, path)
			requireEqual(t, store, path)
		})
	}
}

// TestResetDuringCut: a read mark of 0 does not stop a reset. The frames that the
// cut is about to read are overwritten, and it notices.
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

	// Everything is checkpointed before the cut begins.
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
	settled(t, path) // what was written during the cut
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

// requireIntact restores every TXID and checks its integrity.
func requireIntact(t *testing.T, store storage.Store) {
	t.Helper()
	for txid := lastTXID(t, store); txid > 0; txid-- {
		_, conn := restored(t, store, txid)
		conn.Close()
	}
}

// TestFailedCut: the pages of a cut that failed are in the next one.
func TestFailedCut(t *testing.T) {
	for _, where := range []string{"read", "sync"} {
		t.Run(where, func(t *testing.T) {
			store := newReplica(t)
			path := filepath.Join(t.TempDir(), "app.db")
			var fail atomic.Bool
			conn := open(t, faulty(path, store, &faultHooks{
				read: func(file string, p []byte, off int64) error {
					// The page of a frame, as the cut reads it and the application does not.
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

// TestQuiet is invariant 7: a COMMIT of nothing uploads nothing, and neither does
// time.
func TestQuiet(t *testing.T) {
	store := newReplica(t)
	path := filepath.Join(t.TempDir(), "app.db")
	conn := open(t, uri(path, store))
	exec(t, conn, "CREATE TABLE t (x)", "INSERT INTO t VALUES (1)")
	settled(t, path)
	var requests atomic.Int64
	store.SetBefore(countRequests(&requests))
	exec(t, conn, "BEGIN IMMEDIATE", "COMMIT", "BEGIN", "SELECT * FROM t", "COMMIT", "PRAGMA wal_checkpoint(PASSIVE)")
	time.Sleep(50 * time.Millisecond)
	settled(t, path)
	if n := requests.Load(); n != 0 {
		t.Errorf("%d requests without a commit", n)
	}
}

// TestToldOutOfOrder: a connection that commits first may be told last. What
// another one's success wakes up includes both.
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

// TestGrowth: a database grows without a frame for each new page, and regrows
// after it has shrunk. A restorer needs all of them.
func TestGrowth(t *testing.T) {
	store := newReplica(t)
	path := filepath.Join(t.TempDir(), "app.db")
	conn := open(t, uri(path, store))
	exec(t, conn, "CREATE TABLE t (x)")
	settled(t, path)
	exec(t, conn, "BEGIN", "INSERT INTO t VALUES (zeroblob(1000000))", "DELETE FROM t", "COMMIT")
	settled(t, path)
	requireEqual(t, store, path)

	exec(t, conn, "INSERT INTO t VALUES (randomblob(2000000))")
	settled(t, path)
	release := hold(t, store, conn)
	exec(t, conn, "DELETE FROM t", "VACUUM", "PRAGMA wal_checkpoint(TRUNCATE)",
		"BEGIN", "INSERT INTO t VALUES (zeroblob(2000000))", "DELETE FROM t", "COMMIT")
	release()
	settled(t, path)
	requireEqual(t, store, path)
	requireIntact(t, store)
}

// TestNotBusy: no writer is ever locked out by a cut.
func TestNotBusy(t *testing.T) {
	store := newReplica(t)
	path := filepath.Join(t.TempDir(), "app.db")
	conn := open(t, uri(path, store, "_pragma=busy_timeout(0)"))
	exec(t, conn, "CREATE TABLE t (x)", "PRAGMA wal_autocheckpoint=20")
	busy, commits := 0, 0
	for deadline := time.Now().Add(time.Second); time.Now().Before(deadline); commits++ {
		if err := conn.Exec("BEGIN IMMEDIATE; INSERT INTO t VALUES (randomblob(100)); COMMIT"); err != nil {
			t.Log(err)
			conn.Exec("ROLLBACK")
			busy++
		}
	}
	st, _ := vfs.Status(path)
	if busy > 0 || st.Uploads < 10 {
		t.Errorf("%d of %d commits failed during %d cuts", busy, commits, st.Uploads)
	}
}

// TestNoNeedlessResync: what this process does is never taken for another's.
func TestNoNeedlessResync(t *testing.T) {
	var log bytes.Buffer
	vfs.Register("replicated-logged", vfs.Options{Logger: slog.New(slog.NewTextHandler(&syncWriter{w: &log}, nil))})
	store := newReplica(t)
	path := filepath.Join(t.TempDir(), "app.db")
	logged := strings.Replace(uri(path, store), "vfs=replicated&", "vfs=replicated-logged&", 1)
	a, b := open(t, logged), open(t, logged)
	exec(t, a, "CREATE TABLE t (x)", manyRows)
	for i := range 40 {
		exec(t, b, "PRAGMA wal_checkpoint("+[]string{"PASSIVE", "FULL", "RESTART", "TRUNCATE"}[i%4]+")")
		exec(t, a, "BEGIN", "INSERT INTO t VALUES (1)", "ROLLBACK", spilling)
		exec(t, a, "BEGIN", manyRows, "ROLLBACK")
		if i%3 == 0 {
			settled(t, path)
		}
		exec(t, b, "DELETE FROM t WHERE rowid % 11 = 3")
	}
	settled(t, path)
	a.Close()
	b.Close()
	requireEqual(t, store, path)
	if strings.Contains(log.String(), "uploaded again") {
		t.Errorf("a resync without a reason:\n%s", log.String())
	}
}

// TestChecksums: pages with go-sqlite3's checksums get them on their way to the
// database file, so a cut has to fill them in.
func TestChecksums(t *testing.T) {
	store := newReplica(t)
	path := filepath.Join(t.TempDir(), "app.db")
	conn := open(t, uri(path, store))
	if err := conn.EnableChecksums("main"); err != nil {
		t.Fatal(err)
	}
	exec(t, conn, "CREATE TABLE t (x)", manyRows)
	settled(t, path)
	_, copied := restored(t, store, 0)
	if got := query(t, copied, "SELECT count(*) FROM t"); got != "500" {
		t.Errorf("the copy has %s rows", got)
	}
	conn.Close()
	requireEqual(t, store, path)
}
