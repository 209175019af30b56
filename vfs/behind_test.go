package vfs_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ncruces/go-sqlite3"

	"github.com/walvfs/walvfs/format"
	"github.com/walvfs/walvfs/shipper"
	"github.com/walvfs/walvfs/shipper/restore"
	"github.com/walvfs/walvfs/shipper/sidecar"
	"github.com/walvfs/walvfs/shipper/storage"
	"github.com/walvfs/walvfs/shipper/storage/storagetest"
	"github.com/walvfs/walvfs/vfs"
)

// A rival is another machine that was restored from a run's replica, and has
// committed once since.
func (r *run) rival() (path string) {
	r.t.Helper()
	path = filepath.Join(r.t.TempDir(), "rival.db")
	machine := newAlias(r.t, r.store)
	if _, err := restore.Restore(r.t.Context(), machine, path, restore.Options{}); err != nil {
		r.t.Fatal(err)
	}
	conn := open(r.t, uri(path, machine))
	exec(r.t, conn, "INSERT INTO t VALUES ('rival')")
	settled(r.t, path)
	conn.Close()
	return path
}

// loseCommit crashes, and the disk has lost the last commit.
func (r *run) loseCommit() {
	r.t.Helper()
	d := save(r.t, r.path)
	frames := (len(d["-wal"]) - format.WALHeaderSize) / (4096 + format.FrameHeaderSize)
	clear(d["-wal"][format.FrameOffset(4096, uint32(frames)):])
	d.crash(r.t, r.store, r.path, r.conn)
}

// A database that has nothing which the replica lacks is rolled forward to what the
// replica has, and replicates from there.
func TestRestoreIfBehind(t *testing.T) {
	for _, test := range []struct {
		name, newest string
		do           func(r *run)
	}{
		{"another machine went on", "rival", func(r *run) {
			r.conn.Close()
			r.rival()
		}},
		{"another machine went on after a crash", "rival", func(r *run) {
			save(r.t, r.path).crash(r.t, r.store, r.path, r.conn)
			r.rival()
		}},
		{"retention has removed the file in common", "rival", func(r *run) {
			r.conn.Close()
			common := lastTXID(r.t, r.store)
			r.rival()
			compact(r.t, r.store, lastTXID(r.t, r.store))
			remove(r.t, r.store, common)
		}},
		{"the disk lost a commit", "shipped", func(r *run) {
			r.loseCommit()
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := newRun(t)
			test.do(r)
			tip := lastTXID(t, r.store)
			r.conn = open(t, uri(r.path, r.store, "restore=if-behind"))
			if got := query(t, r.conn, "SELECT x FROM t ORDER BY rowid DESC"); got != test.newest {
				t.Errorf("the newest row is %s", got)
			}
			exec(t, r.conn, "INSERT INTO t VALUES ('on')")
			if got := settled(t, r.path); got <= tip {
				t.Errorf("the replica is at %s, and was at %s", got, tip)
			}
			r.conn.Close()
			requireEqual(t, r.store, r.path)
			kept := open(t, "file:"+r.path+"-walvfs-behind")
			if got := query(t, kept, "SELECT count(*) >= 500 FROM t"); got != "1" {
				t.Error("the old database is not kept")
			}
		})
	}
}

// compact has the replica hold its state at a TXID in one file, as a snapshot.
func compact(t *testing.T, store *storagetest.Memory, txid format.TXID) {
	t.Helper()
	path, conn := restored(t, store, txid)
	conn.Close()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	const pageSize = 4096
	var file bytes.Buffer
	enc, err := format.NewEncoder(&file, format.LTXHeader{
		PageSize: pageSize, Commit: uint32(len(b) / pageSize), MinTXID: 1, MaxTXID: txid, Timestamp: time.Now().UnixMilli(),
	})
	if err != nil {
		t.Fatal(err)
	}
	for pgno := uint32(1); len(b) > 0; pgno++ {
		if err := enc.Page(pgno, b[:pageSize]); err != nil {
			t.Fatal(err)
		}
		b = b[pageSize:]
	}
	if _, err := enc.Close(); err != nil {
		t.Fatal(err)
	}
	key := store.Layout().Key(format.LevelSnapshot, 1, txid)
	if err := store.Create(t.Context(), key, bytes.NewReader(file.Bytes()), storage.Attrs{Time: time.Now()}); err != nil {
		t.Fatal(err)
	}
}

func remove(t *testing.T, store *storagetest.Memory, txid format.TXID) {
	t.Helper()
	if err := store.Delete(t.Context(), store.Layout().Key(format.LevelRaw, txid, txid)); err != nil {
		t.Fatal(err)
	}
}

// A database with a commit of its own is not replaced, and neither is one whose
// replica holds another history, nor one that is not behind.
func TestNotBehind(t *testing.T) {
	for _, test := range []struct {
		name, newest string
		diverged     bool
		do           func(r *run)
	}{
		{"nothing happened", "shipped", false, func(r *run) { r.conn.Close() }},
		{"a commit to ship", "mine", false, func(r *run) {
			down(r.store)
			exec(r.t, r.conn, "INSERT INTO t VALUES ('mine')")
			save(r.t, r.path).crash(r.t, r.store, r.path, r.conn)
		}},
		{"a commit that was not shipped", "mine", true, func(r *run) {
			down(r.store)
			exec(r.t, r.conn, "INSERT INTO t VALUES ('mine')")
			save(r.t, r.path).crash(r.t, r.store, r.path, r.conn)
			r.rival()
		}},
		{"a commit that was checkpointed and not shipped", "mine", true, func(r *run) {
			down(r.store)
			exec(r.t, r.conn, "INSERT INTO t VALUES ('mine')")
			r.conn.Close()
			r.store.SetBefore(nil)
			r.rival()
		}},
		{"a foreign commit", "mine", true, func(r *run) {
			r.conn.Close()
			plain := open(r.t, "file:"+r.path)
			exec(r.t, plain, "INSERT INTO t VALUES ('mine')")
			plain.Close()
			r.rival()
		}},
		{"another history", "shipped", true, func(r *run) {
			r.conn.Close()
			other := newRun(r.t)
			exec(r.t, other.conn, "INSERT INTO t VALUES ('other')")
			settled(r.t, other.path)
			exec(r.t, other.conn, "INSERT INTO t VALUES ('other')")
			settled(r.t, other.path)
			copyReplica(r.t, other.store, r.store)
		}},
		{"a commit of a run that never reached the store", "mine", true, func(r *run) {
			r.conn.Close()
			down(r.store)
			r.open()
			exec(r.t, r.conn, "INSERT INTO t VALUES ('mine')")
			checkpoint(r.t, r.conn, sqlite3.CHECKPOINT_TRUNCATE)
			r.conn.Close()
			r.store.SetBefore(nil)
			r.rival()
		}},
		{"a commit without syncs", "mine", true, func(r *run) {
			exec(r.t, r.conn, "PRAGMA synchronous=off", "INSERT INTO t VALUES ('mine')")
			settled(r.t, r.path)
			save(r.t, r.path).crash(r.t, r.store, r.path, r.conn)
			r.rival()
		}},
		{"a commit of a run that knew of the loss", "mine", true, func(r *run) {
			r.loseCommit()
			r.open()
			exec(r.t, r.conn, "INSERT INTO t VALUES ('mine')")
			vfs.Flush(r.t.Context(), r.path)
			r.conn.Close()
		}},
		{"a commit in place of those that the disk lost", "mine", true, func(r *run) {
			exec(r.t, r.conn, "UPDATE t SET x = randomblob(400) WHERE rowid BETWEEN 100 AND 200")
			settled(r.t, r.path)
			exec(r.t, r.conn, "UPDATE t SET x = randomblob(400) WHERE rowid BETWEEN 100 AND 200")
			settled(r.t, r.path)
			side, err := sidecar.Load(r.path)
			if err != nil {
				r.t.Fatal(err)
			}
			d := save(r.t, r.path)
			kept := side.State.Trail[len(side.State.Trail)-3].Number
			clear(d["-wal"][format.FrameOffset(4096, kept+1):])
			d.crash(r.t, r.store, r.path, r.conn)
			plain := open(r.t, "file:"+r.path)
			exec(r.t, plain, "INSERT INTO t VALUES ('mine')")
			d = save(r.t, r.path)
			plain.Close()
			d.write(r.t, r.path)
		}},
		{"a commit after those that the disk lost", "mine", true, func(r *run) {
			r.loseCommit()
			plain := open(r.t, "file:"+r.path)
			exec(r.t, plain, "INSERT INTO t VALUES ('mine')", "INSERT INTO t VALUES ('mine')")
			d := save(r.t, r.path)
			plain.Close()
			d.write(r.t, r.path)
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := newRun(t)
			test.do(r)
			r.store.SetBefore(nil)
			r.conn = open(t, uri(r.path, r.store, "restore=if-behind"))
			if got := query(t, r.conn, "SELECT x FROM t ORDER BY rowid DESC"); got != test.newest {
				t.Errorf("the newest row is %s", got)
			}
			if err := vfs.Flush(t.Context(), r.path); errors.Is(err, shipper.ErrDiverged) != test.diverged {
				t.Errorf("got %v", err)
			}
			r.conn.Close()
			if _, err := os.Stat(r.path + "-walvfs-behind"); err == nil {
				t.Error("it was replaced")
			}
		})
	}
}

// copyReplica has a replica hold what another one does.
func copyReplica(t *testing.T, from, to *storagetest.Memory) {
	t.Helper()
	for obj, err := range to.List(t.Context(), "", "") {
		if err == nil {
			err = to.Delete(t.Context(), obj.Key)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	for obj, err := range from.List(t.Context(), "", "") {
		if err != nil {
			t.Fatal(err)
		}
		r, attrs, err := from.Open(t.Context(), obj.Key, 0, -1)
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(r)
		if err == nil {
			err = to.Create(t.Context(), obj.Key, bytes.NewReader(b), attrs)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// A store that does not answer cannot tell whether the database is behind.
func TestIfBehindUnreachable(t *testing.T) {
	r := newRun(t)
	r.conn.Close()
	r.store.SetBefore(func(context.Context, string, string) error { return errInjected })
	if got := openError(t, uri(r.path, r.store, "restore=if-behind")); !strings.Contains(got, "restore=if-behind") {
		t.Error(got)
	}
	r.store.SetBefore(nil)
	r.requireShips(0)
}

// Wherever a disk that does not keep what was synced ends the WAL, nothing that the
// replica has goes missing silently: where a cut ended, the database is rolled
// forward, and else replication halts.
func TestDiskThatLies(t *testing.T) {
	const size = 4096
	for k, last := uint32(0), false; !last; k++ {
		r := newRun(t)
		exec(t, r.conn, "INSERT INTO t VALUES ('shipped, too')")
		settled(t, r.path)
		down(r.store)
		exec(t, r.conn, "INSERT INTO t VALUES ('not shipped')", "INSERT INTO t VALUES ('not shipped')")
		d := save(t, r.path)
		frames := uint32((len(d["-wal"]) - format.WALHeaderSize) / (size + format.FrameHeaderSize))
		last = k == frames
		clear(d["-wal"][format.FrameOffset(size, k+1):])
		d.crash(t, r.store, r.path, r.conn)
		side, err := sidecar.Load(r.path)
		if err != nil {
			t.Fatal(err)
		}
		certain := k == 0
		for _, f := range side.State.Trail {
			certain = certain || f.Number == k
		}
		r.conn = open(t, uri(r.path, r.store, "restore=if-behind"))
		if err := vfs.Flush(t.Context(), r.path); errors.Is(err, shipper.ErrDiverged) && !certain {
			r.conn.Close()
			continue
		}
		settled(t, r.path)
		if got := query(t, r.conn, "SELECT count(*) FROM t WHERE x LIKE 'shipped%'"); got != "2" {
			t.Errorf("after %d of %d frames, %s rows", k, frames, got)
		}
		r.conn.Close()
		requireEqual(t, r.store, r.path)
	}
}

// A store that fails while the disk's loss is looked into is asked again: what is lost
// was never in the replica.
func TestLossIsLookedIntoAgain(t *testing.T) {
	const size = 4096
	r := newRun(t)
	side, err := sidecar.Load(r.path)
	if err != nil {
		t.Fatal(err)
	}
	shipped := side.State.Scanned
	hold(t, r.store, r.conn) // cut, and never there
	d := save(t, r.path)
	clear(d["-wal"][format.FrameOffset(size, shipped+1):])
	d.crash(t, r.store, r.path, r.conn)
	var read, failed atomic.Bool
	r.store.SetBefore(func(_ context.Context, op, _ string) error {
		if op == "open" {
			read.Store(true)
		}
		if op == "list" && read.Load() && failed.CompareAndSwap(false, true) {
			return errInjected
		}
		return nil
	})
	r.open()
	settled(t, r.path)
	if !failed.Load() {
		t.Error("nothing failed")
	}
	r.conn.Close()
	requireEqual(t, r.store, r.path)
}
