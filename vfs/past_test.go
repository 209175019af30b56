package vfs_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/ncruces/go-sqlite3"

	"github.com/walvfs/walvfs/internal/statefile"
	"github.com/walvfs/walvfs/shipper"
)

// stateFileLosses are ways to lose or damage a state file.
var stateFileLosses = map[string]func(older, b []byte) []byte{
	"deleted": func(_, b []byte) []byte { return nil },
	"emptied": func(_, b []byte) []byte { return []byte{} },
	"cut":     func(_, b []byte) []byte { return b[:20] },
	"flipped": func(_, b []byte) []byte { b[30] ^= 1; return b },
	"older":   func(older, _ []byte) []byte { return older },
}

// runEnds are ways in which a run ends; each returns the files that the disk then holds.
var runEnds = map[string]func(r *run) disk{
	"after a clean close": func(r *run) disk {
		r.Conn.Close()
		return save(r.T, r.Path)
	},
	"after a crash": func(r *run) disk {
		d := save(r.T, r.Path)
		d.Crash(r.T, r.Store, r.Path, r.Conn)
		return d
	},
	"after a crash with commits": func(r *run) disk {
		down(r.Store)
		exec(r.T, r.Conn, "UPDATE t SET x = randomblob(400) WHERE rowid BETWEEN 100 AND 110", "DELETE FROM t WHERE rowid > 400")
		d := save(r.T, r.Path)
		d.Crash(r.T, r.Store, r.Path, r.Conn)
		return d
	},
	"after a crash after a checkpoint": func(r *run) disk {
		down(r.Store)
		exec(r.T, r.Conn, "UPDATE t SET x = randomblob(400) WHERE rowid BETWEEN 100 AND 110")
		checkpoint(r.T, r.Conn, sqlite3.CHECKPOINT_FULL)
		d := save(r.T, r.Path)
		d.Crash(r.T, r.Store, r.Path, r.Conn)
		return d
	},
}

// Whatever happens to the state file, the database continues the replica that it wrote:
// at worst, it uploads every page again. The application does not wait for that.
func TestLostStateFile(t *testing.T) {
	for what, lose := range stateFileLosses {
		for when, end := range runEnds {
			t.Run(what+" "+when, func(t *testing.T) {
				r := newRun(t)
				older := save(t, r.Path)[statefile.Suffix]
				exec(t, r.Conn, "INSERT INTO t VALUES ('later')")
				settled(t, r.Path)
				d := end(r)
				if b := lose(older, d[statefile.Suffix]); b != nil {
					d[statefile.Suffix] = b
				} else {
					delete(d, statefile.Suffix)
				}
				d.Write(t, r.Path)
				r.Open()
				exec(t, r.Conn, "UPDATE t SET x = 'new' WHERE rowid BETWEEN 300 AND 310", "INSERT INTO t VALUES ('new')")
				settled(t, r.Path)
				exec(t, r.Conn, "INSERT INTO t VALUES ('newer')")
				settled(t, r.Path)
				r.Conn.Close()
				requireEqual(t, r.Store, r.Path)
				requireIntact(t, r.Store)
				left, _ := filepath.Glob(r.Path + "-walvfs-*")
				if len(left) > 0 {
					t.Error(left, "are left")
				}
			})
		}
	}
}

// A first transaction that has begun, or was rolled back, does not count as a change.
func TestLostStateFileBesideATransaction(t *testing.T) {
	for _, end := range []string{"COMMIT", "ROLLBACK"} {
		t.Run(end, func(t *testing.T) {
			r := newRun(t)
			r.Conn.Close()
			os.Remove(r.Path + statefile.Suffix)
			down(r.Store)
			r.Open()
			// It outgrows the cache, and therefore writes to the WAL.
			exec(t, r.Conn, "PRAGMA cache_size = 5", "BEGIN", "UPDATE t SET x = randomblob(400)")
			if wal, err := os.Stat(r.Path + "-wal"); err != nil || wal.Size() == 0 {
				t.Fatal("nothing was written", err)
			}
			if end == "ROLLBACK" {
				exec(t, r.Conn, end, "UPDATE t SET x = 'new' WHERE rowid BETWEEN 300 AND 310")
			}
			r.Store.SetBefore(nil)
			settled(t, r.Path)
			if end == "COMMIT" {
				exec(t, r.Conn, end)
			}
			settled(t, r.Path)
			r.Conn.Close()
			requireEqual(t, r.Store, r.Path)
			requireIntact(t, r.Store)
		})
	}
}

// A database that is older than its replica, or another database, does not overwrite the
// replica, wherever the two differ, and whatever the application does meanwhile.
func TestOlderDatabase(t *testing.T) {
	for _, change := range []string{"UPDATE t SET x = 'c' WHERE rowid = 1", "INSERT INTO t VALUES (randomblob(5000))", "DELETE FROM t WHERE rowid > 300", "UPDATE t SET x = 'c' WHERE rowid = 499"} {
		for _, again := range []bool{false, true} {
			for _, mode := range []string{"NOOP", "PASSIVE", "TRUNCATE"} {
				t.Run(fmt.Sprint(change, again, mode), func(t *testing.T) {
					r := newRun(t)
					r.Conn.Close()
					older, err := os.ReadFile(r.Path)
					if err != nil {
						t.Fatal(err)
					}
					r.Open()
					exec(t, r.Conn, change)
					settled(t, r.Path)
					r.Conn.Close()
					disk{"": older}.Write(t, r.Path)
					tip := lastTXID(t, r.Store)
					down(r.Store)
					r.Open()
					if again {
						exec(t, r.Conn, change)
					}
					exec(t, r.Conn, "PRAGMA wal_checkpoint("+mode+")")
					r.Store.SetBefore(nil)
					if err := flush(t.Context(), r.Path); !errors.Is(err, shipper.ErrDiverged) {
						t.Errorf("got %v", err)
					}
					r.Conn.Close()
					if got := lastTXID(t, r.Store); got != tip {
						t.Errorf("the replica went from %s to %s", tip, got)
					}
				})
			}
		}
	}
}

// A volume that is set back to a moment before the tip does not count as the tip, also if
// the tip has undone the volume's changes.
func TestSetBackAndUndone(t *testing.T) {
	r := newRun(t)
	exec(t, r.Conn, "UPDATE t SET x = 'a' WHERE rowid = 400")
	settled(t, r.Path)
	exec(t, r.Conn, "UPDATE t SET x = 'b' WHERE rowid = 400")
	settled(t, r.Path)
	d := save(t, r.Path)
	checkpoint(t, r.Conn, sqlite3.CHECKPOINT_TRUNCATE) // the tip is of another WAL
	exec(t, r.Conn, "UPDATE t SET x = 'a' WHERE rowid = 400")
	settled(t, r.Path)
	d.Crash(t, r.Store, r.Path, r.Conn)
	r.Open()
	exec(t, r.Conn, "INSERT INTO t VALUES ('later')")
	settled(t, r.Path)
	r.Conn.Close()
	requireEqual(t, r.Store, r.Path)
}

// The proof of a comparison survives a crash, also without an upload since, and a later
// commit of another program.
func TestComparisonIsKept(t *testing.T) {
	r := newRun(t)
	r.Conn.Close()
	if err := os.Remove(r.Path + statefile.Suffix); err != nil {
		t.Fatal(err)
	}
	r.Open()
	settled(t, r.Path)
	save(t, r.Path).Crash(t, r.Store, r.Path, r.Conn)
	plain := open(t, "file:"+r.Path)
	exec(t, plain, theirs)
	plain.Close()
	r.RequireShips(wholeDatabase)
}

// A comparison uses the database's state at open, however often the application resets
// the WAL before the store answers.
func TestComparisonAfterResets(t *testing.T) {
	r := newRun(t)
	r.Conn.Close()
	if err := os.Remove(r.Path + statefile.Suffix); err != nil {
		t.Fatal(err)
	}
	down(r.Store)
	r.Open()
	for range 3 {
		exec(t, r.Conn, "UPDATE t SET x = randomblob(500) WHERE rowid % 3 = 0")
		checkpoint(t, r.Conn, sqlite3.CHECKPOINT_TRUNCATE)
	}
	r.Store.SetBefore(nil)
	settled(t, r.Path)
	r.Conn.Close()
	requireEqual(t, r.Store, r.Path)
}

// A database that was moved after a crash continues with its unshipped commits, also on
// pages of which the WAL has no older content: SQLite's recovery says that a checkpoint
// may have copied all frames.
func TestMovedWithPagesOfTheFile(t *testing.T) {
	r := newRun(t)
	checkpoint(t, r.Conn, sqlite3.CHECKPOINT_TRUNCATE)
	settled(t, r.Path)
	down(r.Store)
	exec(t, r.Conn, "UPDATE t SET x = randomblob(400) WHERE rowid BETWEEN 100 AND 200")
	save(t, r.Path).Crash(t, r.Store, r.Path, r.Conn)
	to := filepath.Join(t.TempDir(), "moved.db")
	copyFiles(t, r.Path, to)
	removeFiles(t, r.Path)
	conn := open(t, uri(to, r.Store))
	settled(t, to)
	conn.Close()
	requireEqual(t, r.Store, to)
}
