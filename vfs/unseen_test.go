package vfs_test

import (
	"errors"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"

	"github.com/ncruces/go-sqlite3"

	"github.com/walvfs/walvfs/format"
	"github.com/walvfs/walvfs/shipper"
)

// The tests of this file change the database by other programs at moments when this
// process cannot see it.

// theirs changes one row from outside the VFS.
const theirs = "UPDATE t SET x = 'theirs' WHERE rowid = 300"

// One empty WAL is like another: replication nevertheless finds a foreign commit that was
// checkpointed and truncated away between two cuts.
func TestForeignCommitBetweenEmptyWALs(t *testing.T) {
	for name, begin := range map[string]func(r *run){
		"truncated": func(r *run) {
			checkpoint(r.T, r.Conn, sqlite3.CHECKPOINT_TRUNCATE)
			settled(r.T, r.Path)
		},
		"reopened": func(r *run) {
			r.Conn.Close()
			r.Open()
			settled(r.T, r.Path)
		},
	} {
		for what, then := range map[string]string{"and we commit": "INSERT INTO t VALUES ('ours')", "and we do not": "SELECT 1"} {
			t.Run(name+", "+what, func(t *testing.T) {
				r := newRun(t)
				begin(r)
				plain := open(t, "file:"+r.Path)
				exec(t, plain, theirs)
				checkpoint(t, plain, sqlite3.CHECKPOINT_TRUNCATE)
				plain.Close()
				exec(t, r.Conn, then)
				settled(t, r.Path)
				r.Conn.Close()
				requireEqual(t, r.Store, r.Path)
			})
		}
	}
}

// A last close does not checkpoint a database that another program has open: the next
// open finds the commits in the WAL.
func TestCloseBesideForeign(t *testing.T) {
	r := newRun(t)
	r.Conn.Close()
	down(r.Store)
	r.Open()
	query(t, r.Conn, "SELECT count(*) FROM t")
	plain := open(t, "file:"+r.Path)
	exec(t, plain, theirs)
	checkpoint(t, plain, sqlite3.CHECKPOINT_PASSIVE)
	r.Conn.Close()
	plain.Close()
	r.Store.SetBefore(nil)
	r.RequireShips(wholeDatabase)
}

// Replication finds a foreign commit after the state was proven and before its own
// connection holds the WAL.
func TestForeignCommitWhileOpening(t *testing.T) {
	store := newReplica(t)
	path := filepath.Join(t.TempDir(), "app.db")
	var opens atomic.Int32
	var armed atomic.Bool
	u := faulty(path, store, &faultHooks{open: func(kind string) error {
		if armed.Load() && kind == "db" && opens.Add(1) == 2 { // the internal connection's
			plain, err := sqlite3.Open("file:" + path)
			if err != nil {
				t.Error(err)
				return nil
			}
			defer plain.Close()
			if err := plain.Exec(theirs); err != nil {
				t.Error(err)
			}
		}
		return nil
	}})
	conn := open(t, u)
	exec(t, conn, "CREATE TABLE t (x)", manyRows)
	settled(t, path)
	conn.Close()
	armed.Store(true)
	conn = open(t, u)
	armed.Store(false)
	if opens.Load() < 2 {
		t.Fatal("the internal connection was not opened")
	}
	settled(t, path)
	conn.Close()
	requireEqual(t, store, path)
}

// The first transaction of an epoch is rolled back after it spilled, and the next
// transaction rewrites the header with the same salts.
func TestCrashAfterEqualSalts(t *testing.T) {
	r := newRun(t)
	checkpoint(t, r.Conn, sqlite3.CHECKPOINT_FULL)
	exec(t, r.Conn, "INSERT INTO t VALUES ('y')")
	settled(t, r.Path)
	down(r.Store)
	checkpoint(t, r.Conn, sqlite3.CHECKPOINT_FULL)
	exec(t, r.Conn, spilling, "BEGIN", manyRows, "ROLLBACK", "UPDATE t SET x = randomblob(400) WHERE rowid BETWEEN 100 AND 110")
	save(t, r.Path).Crash(t, r.Store, r.Path, r.Conn)
	r.RequireShips(200)
}

// Frames that were never committed, at the end of an epoch whose reset was noted
// and did not happen, are overwritten by the next run's commits.
func TestCrashDuringResetAfterRollback(t *testing.T) {
	store := newReplica(t)
	path := filepath.Join(t.TempDir(), "app.db")
	var armed atomic.Bool
	var d disk
	hooks := &faultHooks{write: func(file string, p []byte, off int64) (int, error) {
		if file == "wal" && off == 0 && armed.CompareAndSwap(true, false) {
			d = save(t, path)
		}
		return len(p), nil
	}}
	conn := open(t, faulty(path, store, hooks, "close_timeout=1ms"))
	exec(t, conn, "CREATE TABLE t (x)", manyRows)
	settled(t, path)
	down(store)
	exec(t, conn, "INSERT INTO t VALUES ('z')", spilling, "BEGIN", manyRows, "ROLLBACK")
	untilReset(t, conn, &armed)
	d.Crash(t, store, path, conn)

	down(store)
	conn = open(t, uri(path, store, "close_timeout=1ms"))
	exec(t, conn, "UPDATE t SET x = randomblob(400) WHERE rowid BETWEEN 100 AND 110", "UPDATE t SET x = randomblob(400) WHERE rowid BETWEEN 300 AND 400")
	save(t, path).Crash(t, store, path, conn)
	(&run{T: t, Store: store, Path: path}).RequireShips(200)
}

// untilReset commits until the WAL starts over, which a cut's read mark may stop.
func untilReset(t *testing.T, conn *sqlite3.Conn, armed *atomic.Bool) {
	t.Helper()
	armed.Store(true)
	eventually(t, "the WAL starts over", func() bool {
		checkpoint(t, conn, sqlite3.CHECKPOINT_FULL)
		exec(t, conn, "UPDATE t SET x = randomblob(400) WHERE rowid BETWEEN 200 AND 210")
		return !armed.Load()
	})
}

// A database that was deleted and created again, with the inode of the old file, does not
// continue the old database's replica.
func TestDeletedDatabase(t *testing.T) {
	r := newRun(t)
	r.Conn.Close()
	tip := lastTXID(t, r.Store)
	if err := os.Remove(r.Path); err != nil {
		t.Fatal(err)
	}
	r.Open()
	exec(t, r.Conn, "CREATE TABLE fresh (x)")
	if err := flush(t.Context(), r.Path); !errors.Is(err, shipper.ErrDiverged) {
		t.Error(err)
	}
	if got := lastTXID(t, r.Store); got != tip {
		t.Errorf("the replica went from %s to %s", tip, got)
	}
}

// A halt because the disk lost commits survives a clean close.
func TestDiskLostIsNotForgotten(t *testing.T) {
	r := newRun(t)
	d := save(t, r.Path)
	frames := (len(d["-wal"]) - format.WALHeaderSize) / (4096 + format.FrameHeaderSize)
	clear(d["-wal"][format.FrameOffset(4096, uint32(frames)):])
	d.Crash(t, r.Store, r.Path, r.Conn)
	tip := lastTXID(t, r.Store)
	for range 3 {
		r.Open()
		exec(t, r.Conn, "INSERT INTO t VALUES ('other')")
		if err := flush(t.Context(), r.Path); !errors.Is(err, shipper.ErrDiverged) && lastTXID(t, r.Store) != tip {
			t.Errorf("%v; the replica went from %s to %s", err, tip, lastTXID(t, r.Store))
		}
		r.Conn.Close()
	}
}

// Replication does not ship a file that replaced an open database as its content.
func TestReplacedPath(t *testing.T) {
	store := newReplica(t)
	path := filepath.Join(t.TempDir(), "app.db")
	conn := open(t, uri(path, store, "close_timeout=1ms"))
	query(t, conn, "SELECT count(*) FROM sqlite_schema")
	stranger := open(t, "file:"+path+".other")
	exec(t, stranger, "CREATE TABLE stranger (x)")
	stranger.Close()
	if err := os.Rename(path+".other", path); err != nil {
		t.Fatal(err)
	}
	exec(t, conn, "CREATE TABLE mine (x)")
	if tip := lastTXID(t, store); tip != 0 {
		_, copied := restored(t, store, 0)
		t.Errorf("the replica has %s", query(t, copied, "SELECT name FROM sqlite_schema"))
	}
}

// TestForeignCommitWhileOpeningIsCheckpointed is TestForeignCommitWhileOpening with a
// connection that stays open, and empties the WAL before the first cut.
func TestForeignCommitWhileOpeningIsCheckpointed(t *testing.T) {
	store := newReplica(t)
	path := filepath.Join(t.TempDir(), "app.db")
	var opens atomic.Int32
	var plain *sqlite3.Conn
	hooks := &faultHooks{}
	u := faulty(path, store, hooks, "close_timeout=1ms")
	conn := open(t, u)
	exec(t, conn, "CREATE TABLE t (x)", manyRows)
	settled(t, path)
	conn.Close()
	hooks.open = func(kind string) error {
		if kind == "db" && opens.Add(1) == 2 { // the internal connection's
			plain = open(t, "file:"+path)
			exec(t, plain, theirs)
		}
		return nil
	}
	down(store)
	conn = open(t, u)
	if plain == nil {
		t.Fatal("the internal connection was not opened")
	}
	checkpoint(t, plain, sqlite3.CHECKPOINT_TRUNCATE)
	store.SetBefore(nil)
	exec(t, conn, "INSERT INTO t VALUES ('ours')")
	settled(t, path)
	plain.Close()
	conn.Close()
	requireEqual(t, store, path)
}
