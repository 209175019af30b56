package vfs_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/ncruces/go-sqlite3"

	"github.com/walvfs/walvfs/shipper"
	"github.com/walvfs/walvfs/shipper/sidecar"
	"github.com/walvfs/walvfs/vfs"
)

// Whatever happens to the sidecar, the database goes on with what it wrote: at worst
// everything is uploaded again. The application does not wait for that.
func TestLostSidecar(t *testing.T) {
	losses := map[string]func(older, b []byte) []byte{
		"deleted": func(_, b []byte) []byte { return nil },
		"emptied": func(_, b []byte) []byte { return []byte{} },
		"cut":     func(_, b []byte) []byte { return b[:20] },
		"flipped": func(_, b []byte) []byte { b[30] ^= 1; return b },
		"older":   func(older, _ []byte) []byte { return older },
	}
	ends := map[string]func(r *run) disk{
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
	for what, lose := range losses {
		for when, end := range ends {
			t.Run(what+" "+when, func(t *testing.T) {
				r := newRun(t)
				older := save(t, r.Path)[sidecar.Suffix]
				exec(t, r.Conn, "INSERT INTO t VALUES ('later')")
				settled(t, r.Path)
				d := end(r)
				if b := lose(older, d[sidecar.Suffix]); b != nil {
					d[sidecar.Suffix] = b
				} else {
					delete(d, sidecar.Suffix)
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

// A first transaction that has begun, or was given up, has changed nothing yet.
func TestLostSidecarBesideATransaction(t *testing.T) {
	for _, end := range []string{"COMMIT", "ROLLBACK"} {
		t.Run(end, func(t *testing.T) {
			r := newRun(t)
			r.Conn.Close()
			os.Remove(r.Path + sidecar.Suffix)
			down(r.Store)
			r.Open()
			// It outgrows the cache, and so writes to the WAL.
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

// A database that is older than its replica, or another one, does not take its
// place, wherever the two differ, and whatever the application does meanwhile.
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
					if err := vfs.Flush(t.Context(), r.Path); !errors.Is(err, shipper.ErrDiverged) {
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
