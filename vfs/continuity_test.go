package vfs_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/ncruces/go-sqlite3"

	"github.com/walvfs/walvfs/format"
	"github.com/walvfs/walvfs/shipper"
	"github.com/walvfs/walvfs/shipper/restore"
	"github.com/walvfs/walvfs/shipper/sidecar"
	"github.com/walvfs/walvfs/shipper/storage/storagetest"
	"github.com/walvfs/walvfs/vfs"
)

// A disk is what a database's files hold at one moment.
type disk map[string][]byte

var suffixes = []string{"", "-wal", sidecar.Suffix}

// save reads the files as they are.
func save(t *testing.T, path string) disk {
	t.Helper()
	d := disk{}
	for _, suffix := range suffixes {
		b, err := os.ReadFile(path + suffix)
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		d[suffix] = b
	}
	return d
}

// crash closes the connections without a chance for the replica, and puts the
// files back as they were when they were saved, as if the process had died then.
func (d disk) crash(t *testing.T, store *storagetest.Memory, path string, conns ...*sqlite3.Conn) {
	t.Helper()
	store.SetBefore(func(context.Context, string, string) error { return errInjected })
	for _, conn := range conns {
		conn.Close()
	}
	store.SetBefore(nil)
	d.write(t, path)
}

func (d disk) write(t *testing.T, path string) {
	t.Helper()
	for _, suffix := range append(suffixes, "-shm") {
		b, ok := d[suffix]
		if !ok {
			os.Remove(path + suffix)
			continue
		}
		// In place: the database keeps its inode.
		f, err := os.OpenFile(path+suffix, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
		if err == nil {
			_, err = f.Write(b)
			err = errors.Join(err, f.Close())
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// down makes a store fail from now on.
func down(store *storagetest.Memory) {
	store.SetBefore(func(context.Context, string, string) error { return errInjected })
}

// A run is a database of 500 rows on some 70 pages that was shipped, and what it
// takes to go on with it.
type run struct {
	t     *testing.T
	store *storagetest.Memory
	path  string
	conn  *sqlite3.Conn
}

func newRun(t *testing.T) *run {
	r := &run{t: t, store: newReplica(t), path: filepath.Join(t.TempDir(), "app.db")}
	r.open()
	exec(t, r.conn, "CREATE TABLE t (x)", manyRows)
	settled(t, r.path)
	exec(t, r.conn, "INSERT INTO t VALUES ('shipped')")
	settled(t, r.path)
	return r
}

func (r *run) open() {
	r.t.Helper()
	r.conn = open(r.t, uri(r.path, r.store, "close_timeout=1ms"))
}

// requireShips reopens the database and fails unless the replica becomes equal to
// it with at most so many pages of uploads.
func (r *run) requireShips(most uint64) {
	r.t.Helper()
	before := lastTXID(r.t, r.store)
	r.open()
	settled(r.t, r.path)
	if got := pagesSince(r.t, r.store, before); got > most {
		r.t.Errorf("%d pages were uploaded, %d would do", got, most)
	}
	r.conn.Close()
	requireEqual(r.t, r.store, r.path)
	requireIntact(r.t, r.store)
}

// pagesSince counts the pages in the files after a TXID.
func pagesSince(t *testing.T, store *storagetest.Memory, txid format.TXID) (pages uint64) {
	t.Helper()
	files, err := restore.ListFiles(t.Context(), store)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if f.MinTXID <= txid {
			continue
		}
		r, _, err := store.Open(t.Context(), store.Layout().Key(f.Level, f.MinTXID, f.MaxTXID), 0, -1)
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := format.Decode(r, func(format.LTXHeader, uint32, []byte) error { pages++; return nil }); err != nil {
			t.Fatal(err)
		}
	}
	return pages
}

const wholeDatabase = 1000 // more pages than any database here has

func TestRestart(t *testing.T) {
	for _, test := range []struct {
		name string
		most uint64
		do   func(r *run)
	}{
		{"clean close", 0, func(r *run) {
			r.conn.Close()
		}},
		{"clean close after checkpoints", 0, func(r *run) {
			exec(r.t, r.conn, "PRAGMA wal_checkpoint(TRUNCATE)", "UPDATE t SET x = 1 WHERE rowid = 7")
			settled(r.t, r.path)
			r.conn.Close()
		}},
		{"close during an outage", 10, func(r *run) {
			down(r.store)
			exec(r.t, r.conn, "UPDATE t SET x = randomblob(400) WHERE rowid BETWEEN 100 AND 110")
			checkpoint(r.t, r.conn, sqlite3.CHECKPOINT_TRUNCATE)
			exec(r.t, r.conn, "UPDATE t SET x = randomblob(400) WHERE rowid BETWEEN 200 AND 210")
			r.conn.Close()
			r.store.SetBefore(nil)
		}},
		{"crash when idle", 0, func(r *run) {
			save(r.t, r.path).crash(r.t, r.store, r.path, r.conn)
		}},
		{"crash with commits", 10, func(r *run) {
			down(r.store)
			exec(r.t, r.conn, "UPDATE t SET x = randomblob(400) WHERE rowid BETWEEN 100 AND 110")
			save(r.t, r.path).crash(r.t, r.store, r.path, r.conn)
		}},
		{"crash with a transaction under way", 10, func(r *run) {
			down(r.store)
			exec(r.t, r.conn, "UPDATE t SET x = randomblob(400) WHERE rowid BETWEEN 100 AND 110", spilling, "BEGIN", manyRows)
			save(r.t, r.path).crash(r.t, r.store, r.path, r.conn)
		}},
		{"crash after resets", 20, func(r *run) {
			down(r.store)
			for _, rows := range []string{"10 AND 15", "100 AND 110", "200 AND 210", "300 AND 305"} {
				exec(r.t, r.conn, "UPDATE t SET x = randomblob(400) WHERE rowid BETWEEN "+rows)
				checkpoint(r.t, r.conn, sqlite3.CHECKPOINT_FULL)
			}
			save(r.t, r.path).crash(r.t, r.store, r.path, r.conn)
		}},
		{"two crashes during an outage", 25, func(r *run) {
			for _, rows := range []string{"10 AND 15", "100 AND 110"} {
				down(r.store)
				exec(r.t, r.conn, "UPDATE t SET x = randomblob(400) WHERE rowid BETWEEN "+rows)
				checkpoint(r.t, r.conn, sqlite3.CHECKPOINT_FULL)
				exec(r.t, r.conn, "UPDATE t SET x = 1 WHERE rowid = 300")
				checkpoint(r.t, r.conn, sqlite3.CHECKPOINT_FULL)
				exec(r.t, r.conn, "UPDATE t SET x = 2 WHERE rowid = 300")
				d := save(r.t, r.path)
				d.crash(r.t, r.store, r.path, r.conn)
				down(r.store)
				r.open()
			}
			save(r.t, r.path).crash(r.t, r.store, r.path, r.conn)
		}},
		{"crash after growth and shrinking", 60, func(r *run) {
			down(r.store)
			for _, q := range []string{"INSERT INTO t VALUES (randomblob(100000))", "DELETE FROM t WHERE rowid > 450", "INSERT INTO t VALUES ('x')"} {
				exec(r.t, r.conn, q)
				checkpoint(r.t, r.conn, sqlite3.CHECKPOINT_FULL)
			}
			save(r.t, r.path).crash(r.t, r.store, r.path, r.conn)
		}},
		{"crash after a truncation", wholeDatabase, func(r *run) {
			down(r.store)
			exec(r.t, r.conn, "UPDATE t SET x = randomblob(400) WHERE rowid BETWEEN 100 AND 110")
			checkpoint(r.t, r.conn, sqlite3.CHECKPOINT_TRUNCATE)
			save(r.t, r.path).crash(r.t, r.store, r.path, r.conn)
		}},
		{"crash without syncs", wholeDatabase, func(r *run) {
			exec(r.t, r.conn, "PRAGMA synchronous=off", "UPDATE t SET x = 1 WHERE rowid = 7")
			settled(r.t, r.path)
			save(r.t, r.path).crash(r.t, r.store, r.path, r.conn)
		}},
		{"clean close without syncs", 0, func(r *run) {
			exec(r.t, r.conn, "PRAGMA synchronous=off", "UPDATE t SET x = 1 WHERE rowid = 7")
			settled(r.t, r.path)
			r.conn.Close()
		}},
		{"the sidecar lost its state", wholeDatabase, func(r *run) {
			d := save(r.t, r.path)
			d[sidecar.Suffix] = d[sidecar.Suffix][:len(d[sidecar.Suffix])-3]
			d.crash(r.t, r.store, r.path, r.conn)
		}},
		{"the WAL was lost", wholeDatabase, func(r *run) {
			exec(r.t, r.conn, "PRAGMA wal_checkpoint(FULL)")
			d := save(r.t, r.path)
			delete(d, "-wal")
			d.crash(r.t, r.store, r.path, r.conn)
		}},
		{"foreign commit while closed", wholeDatabase, func(r *run) {
			r.conn.Close()
			plain := open(r.t, "file:"+r.path)
			exec(r.t, plain, "UPDATE t SET x = 'theirs' WHERE rowid = 300")
			plain.Close()
		}},
		{"foreign rollback journal while closed", wholeDatabase, func(r *run) {
			r.conn.Close()
			plain := open(r.t, "file:"+r.path)
			exec(r.t, plain, "PRAGMA journal_mode=delete", "UPDATE t SET x = 'theirs' WHERE rowid = 300", "VACUUM")
			plain.Close()
		}},
		{"foreign commit after a crash", wholeDatabase, func(r *run) {
			save(r.t, r.path).crash(r.t, r.store, r.path, r.conn)
			plain := open(r.t, "file:"+r.path)
			exec(r.t, plain, "UPDATE t SET x = 'theirs' WHERE rowid = 300")
			plain.Close()
		}},
		{"foreign commit in the same WAL", 3, func(r *run) {
			save(r.t, r.path).crash(r.t, r.store, r.path, r.conn)
			plain := open(r.t, "file:"+r.path)
			exec(r.t, plain, "UPDATE t SET x = 'theirs' WHERE rowid = 300")
			d := save(r.t, r.path)
			plain.Close()
			d.write(r.t, r.path)
		}},
		{"an older sidecar", wholeDatabase, func(r *run) {
			older := save(r.t, r.path)[sidecar.Suffix]
			exec(r.t, r.conn, "PRAGMA wal_checkpoint(FULL)", "UPDATE t SET x = randomblob(400) WHERE rowid BETWEEN 100 AND 110",
				"PRAGMA wal_checkpoint(FULL)", "UPDATE t SET x = 1 WHERE rowid = 300")
			// The replica is not ahead of it, so that it is the replica's past.
			d := save(r.t, r.path)
			d[sidecar.Suffix] = older
			d.crash(r.t, r.store, r.path, r.conn)
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := newRun(t)
			if test.name == "an older sidecar" {
				down(r.store)
			}
			test.do(r)
			r.requireShips(test.most)
		})
	}
}

// A crash between the note of a reset and the reset loses nothing, whichever of
// the two the disk has.
func TestCrashDuringReset(t *testing.T) {
	for _, when := range []string{"before", "after"} {
		t.Run(when, func(t *testing.T) {
			store := newReplica(t)
			path := filepath.Join(t.TempDir(), "app.db")
			var armed atomic.Bool
			var d disk
			take := func(file string, off int64) {
				if file == "wal" && off == 0 && armed.CompareAndSwap(true, false) {
					d = save(t, path)
				}
			}
			hooks := &faultHooks{}
			if when == "before" {
				hooks.write = func(file string, p []byte, off int64) (int, error) { take(file, off); return len(p), nil }
			} else {
				hooks.written = func(file string, p []byte, off int64) { take(file, off) }
			}
			conn := open(t, faulty(path, store, hooks, "close_timeout=1ms"))
			exec(t, conn, "CREATE TABLE t (x)", manyRows)
			settled(t, path)
			down(store)
			exec(t, conn, "UPDATE t SET x = randomblob(400) WHERE rowid BETWEEN 100 AND 110")
			untilReset(t, conn, &armed)
			d.crash(t, store, path, conn)
			r := &run{t: t, store: store, path: path}
			r.requireShips(10)
		})
	}
}

// Commits that the replica has and the disk lost are not overwritten silently.
func TestDiskLostCommits(t *testing.T) {
	r := newRun(t)
	d := save(t, r.path)
	frames := (len(d["-wal"]) - format.WALHeaderSize) / (4096 + format.FrameHeaderSize)
	if frames < 2 {
		t.Fatalf("the WAL has %d frames", frames)
	}
	// The last commit is gone.
	clear(d["-wal"][format.FrameOffset(4096, uint32(frames)):])
	d.crash(t, r.store, r.path, r.conn)
	tip := lastTXID(t, r.store)
	r.open()
	exec(t, r.conn, "INSERT INTO t VALUES ('other')")
	if err := vfs.Flush(t.Context(), r.path); !errors.Is(err, shipper.ErrDiverged) || !strings.Contains(err.Error(), "the disk has lost commits") {
		t.Error(err)
	}
	if got := lastTXID(t, r.store); got != tip {
		t.Errorf("the replica went from %s to %s", tip, got)
	}
	r.conn.Close()
	r.conn = open(t, uri(r.path, r.store, "diverged=overwrite"))
	settled(t, r.path)
	r.conn.Close()
	requireEqual(t, r.store, r.path)
}

// A restored database takes the replica over when it is opened, with a file of no
// pages: the machine that it was lost on is fenced, and nothing is uploaded twice.
func TestTakeOver(t *testing.T) {
	r := newRun(t)
	second := filepath.Join(t.TempDir(), "app.db")
	machine := newAlias(t, r.store)
	tip := lastTXID(t, r.store)
	if _, err := restore.Restore(t.Context(), machine, second, restore.Options{}); err != nil {
		t.Fatal(err)
	}
	conn := open(t, uri(second, machine))
	eventually(t, "the next TXID is taken", func() bool { return lastTXID(t, r.store) > tip })
	if got := pagesSince(t, r.store, tip); got != 0 {
		t.Errorf("%d pages were uploaded", got)
	}
	exec(t, r.conn, "INSERT INTO t VALUES ('old')")
	if err := vfs.Flush(t.Context(), r.path); !errors.Is(err, shipper.ErrFenced) {
		t.Errorf("the old machine got %v", err)
	}
	exec(t, conn, "INSERT INTO t VALUES ('new')")
	settled(t, second)
	if got := pagesSince(t, r.store, tip); got > 3 {
		t.Errorf("%d pages were uploaded", got)
	}
	conn.Close()
	requireEqual(t, r.store, second)
	requireIntact(t, r.store)
}

// However long an outage, the sidecar stays small.
func TestSidecarIsBounded(t *testing.T) {
	r := newRun(t)
	down(r.store)
	exec(t, r.conn, "PRAGMA wal_autocheckpoint=10", "PRAGMA synchronous=off")
	for range 2000 {
		exec(t, r.conn, "UPDATE t SET x = randomblob(400) WHERE rowid = abs(random()) % 500")
	}
	info, err := os.Stat(r.path + sidecar.Suffix)
	if err != nil {
		t.Fatal(err)
	}
	if info.Size() > 2<<20 {
		t.Errorf("the sidecar has %d bytes", info.Size())
	}
	r.store.SetBefore(nil)
	settled(t, r.path)
	r.conn.Close()
	requireEqual(t, r.store, r.path)
}

// A sidecar that cannot be written costs continuity, and nothing else.
func TestSidecarCannotBeWritten(t *testing.T) {
	store := newReplica(t)
	path := filepath.Join(t.TempDir(), "app.db")
	if err := os.MkdirAll(filepath.Join(path+sidecar.Suffix+".tmp", "in the way"), 0o700); err != nil {
		t.Fatal(err)
	}
	conn := open(t, uri(path, store))
	exec(t, conn, "CREATE TABLE t (x)", manyRows)
	settled(t, path)
	conn.Close()
	requireEqual(t, store, path)
}
