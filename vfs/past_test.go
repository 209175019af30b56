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
			r.conn.Close()
			return save(r.t, r.path)
		},
		"after a crash": func(r *run) disk {
			d := save(r.t, r.path)
			d.crash(r.t, r.store, r.path, r.conn)
			return d
		},
		"after a crash with commits": func(r *run) disk {
			down(r.store)
			exec(r.t, r.conn, "UPDATE t SET x = randomblob(400) WHERE rowid BETWEEN 100 AND 110", "DELETE FROM t WHERE rowid > 400")
			d := save(r.t, r.path)
			d.crash(r.t, r.store, r.path, r.conn)
			return d
		},
		"after a crash after a checkpoint": func(r *run) disk {
			down(r.store)
			exec(r.t, r.conn, "UPDATE t SET x = randomblob(400) WHERE rowid BETWEEN 100 AND 110")
			checkpoint(r.t, r.conn, sqlite3.CHECKPOINT_FULL)
			d := save(r.t, r.path)
			d.crash(r.t, r.store, r.path, r.conn)
			return d
		},
	}
	for what, lose := range losses {
		for when, end := range ends {
			t.Run(what+" "+when, func(t *testing.T) {
				r := newRun(t)
				older := save(t, r.path)[sidecar.Suffix]
				exec(t, r.conn, "INSERT INTO t VALUES ('later')")
				settled(t, r.path)
				d := end(r)
				if b := lose(older, d[sidecar.Suffix]); b != nil {
					d[sidecar.Suffix] = b
				} else {
					delete(d, sidecar.Suffix)
				}
				d.write(t, r.path)
				r.open()
				exec(t, r.conn, "UPDATE t SET x = 'new' WHERE rowid BETWEEN 300 AND 310", "INSERT INTO t VALUES ('new')")
				settled(t, r.path)
				exec(t, r.conn, "INSERT INTO t VALUES ('newer')")
				settled(t, r.path)
				r.conn.Close()
				requireEqual(t, r.store, r.path)
				requireIntact(t, r.store)
				left, _ := filepath.Glob(r.path + "-walvfs-*")
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
			r.conn.Close()
			os.Remove(r.path + sidecar.Suffix)
			down(r.store)
			r.open()
			// It outgrows the cache, and so writes to the WAL.
			exec(t, r.conn, "PRAGMA cache_size = 5", "BEGIN", "UPDATE t SET x = randomblob(400)")
			if wal, err := os.Stat(r.path + "-wal"); err != nil || wal.Size() == 0 {
				t.Fatal("nothing was written", err)
			}
			if end == "ROLLBACK" {
				exec(t, r.conn, end, "UPDATE t SET x = 'new' WHERE rowid BETWEEN 300 AND 310")
			}
			r.store.SetBefore(nil)
			settled(t, r.path)
			if end == "COMMIT" {
				exec(t, r.conn, end)
			}
			settled(t, r.path)
			r.conn.Close()
			requireEqual(t, r.store, r.path)
			requireIntact(t, r.store)
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
					r.conn.Close()
					older, err := os.ReadFile(r.path)
					if err != nil {
						t.Fatal(err)
					}
					r.open()
					exec(t, r.conn, change)
					settled(t, r.path)
					r.conn.Close()
					disk{"": older}.write(t, r.path)
					tip := lastTXID(t, r.store)
					down(r.store)
					r.open()
					if again {
						exec(t, r.conn, change)
					}
					exec(t, r.conn, "PRAGMA wal_checkpoint("+mode+")")
					r.store.SetBefore(nil)
					if err := vfs.Flush(t.Context(), r.path); !errors.Is(err, shipper.ErrDiverged) {
						t.Errorf("got %v", err)
					}
					r.conn.Close()
					if got := lastTXID(t, r.store); got != tip {
						t.Errorf("the replica went from %s to %s", tip, got)
					}
				})
			}
		}
	}
}
