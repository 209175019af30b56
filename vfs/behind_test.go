package vfs_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ncruces/go-sqlite3"

	"github.com/walvfs/walvfs/format"
	"github.com/walvfs/walvfs/internal/statefile"
	"github.com/walvfs/walvfs/shipper"
	"github.com/walvfs/walvfs/shipper/restore"
	"github.com/walvfs/walvfs/shipper/storage"
	"github.com/walvfs/walvfs/shipper/storage/storagetest"
)

// A rival is another machine that was restored from a run's replica, and has since
// committed once.
func rival(r *run) (path string) {
	r.T.Helper()
	path = filepath.Join(r.T.TempDir(), "rival.db")
	machine := newAlias(r.T, r.Store)
	if _, err := restore.Restore(r.T.Context(), machine, path, restore.Options{}); err != nil {
		r.T.Fatal(err)
	}
	conn := open(r.T, uri(path, machine))
	exec(r.T, conn, "INSERT INTO t VALUES ('rival')")
	settled(r.T, path)
	conn.Close()
	return path
}

// loseCommit crashes, and the disk loses the last commit.
func loseCommit(r *run) {
	r.T.Helper()
	d := save(r.T, r.Path)
	frames := (len(d["-wal"]) - format.WALHeaderSize) / (4096 + format.FrameHeaderSize)
	clear(d["-wal"][format.FrameOffset(4096, uint32(frames)):])
	d.Crash(r.T, r.Store, r.Path, r.Conn)
}

// A database without commits of its own is rolled forward to the replica's newest state,
// and replicates from there.
func TestRestoreIfBehind(t *testing.T) {
	for _, test := range []struct {
		name, newest string
		do           func(r *run)
	}{
		{"another machine went on", "rival", func(r *run) {
			r.Conn.Close()
			rival(r)
		}},
		{"another machine went on after a crash", "rival", func(r *run) {
			save(r.T, r.Path).Crash(r.T, r.Store, r.Path, r.Conn)
			rival(r)
		}},
		{"retention has removed the file in common", "rival", func(r *run) {
			r.Conn.Close()
			common := lastTXID(r.T, r.Store)
			rival(r)
			compact(r.T, r.Store, lastTXID(r.T, r.Store))
			remove(r.T, r.Store, common)
		}},
		{"the disk lost a commit", "shipped", func(r *run) {
			loseCommit(r)
		}},
		// Their content proves that the replica has every commit of theirs.
		{"a commit without syncs", "rival", func(r *run) {
			exec(r.T, r.Conn, "PRAGMA synchronous=off", "INSERT INTO t VALUES ('mine')")
			settled(r.T, r.Path)
			save(r.T, r.Path).Crash(r.T, r.Store, r.Path, r.Conn)
			rival(r)
		}},
		{"a checkpoint by another program", "rival", func(r *run) {
			save(r.T, r.Path).Crash(r.T, r.Store, r.Path, r.Conn)
			plain := open(r.T, "file:"+r.Path)
			exec(r.T, plain, "PRAGMA wal_checkpoint(TRUNCATE)")
			plain.Close()
			rival(r)
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := newRun(t)
			test.do(r)
			tip := lastTXID(t, r.Store)
			r.Conn = open(t, uri(r.Path, r.Store, "restore=if-behind"))
			if got := query(t, r.Conn, "SELECT x FROM t ORDER BY rowid DESC"); got != test.newest {
				t.Errorf("the newest row is %s", got)
			}
			exec(t, r.Conn, "INSERT INTO t VALUES ('on')")
			if got := settled(t, r.Path); got <= tip {
				t.Errorf("the replica is at %s, and was at %s", got, tip)
			}
			r.Conn.Close()
			requireEqual(t, r.Store, r.Path)
			kept := open(t, "file:"+r.Path+"-walvfs-behind")
			if got := query(t, kept, "SELECT count(*) >= 500 FROM t"); got != "1" {
				t.Error("the old database is not kept")
			}
		})
	}
}

// compact makes the replica hold its state at a TXID in one file, a snapshot.
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

// Wherever a disk that loses synced writes ends the WAL, no commit that the replica has
// is lost silently: if the WAL ends where a cut ended, the open rolls the database
// forward; otherwise replication halts.
func TestDiskThatLies(t *testing.T) {
	const size = 4096
	for k, last := uint32(0), false; !last; k++ {
		r := newRun(t)
		exec(t, r.Conn, "INSERT INTO t VALUES ('shipped, too')")
		settled(t, r.Path)
		down(r.Store)
		exec(t, r.Conn, "INSERT INTO t VALUES ('not shipped')", "INSERT INTO t VALUES ('not shipped')")
		d := save(t, r.Path)
		frames := uint32((len(d["-wal"]) - format.WALHeaderSize) / (size + format.FrameHeaderSize))
		last = k == frames
		clear(d["-wal"][format.FrameOffset(size, k+1):])
		d.Crash(t, r.Store, r.Path, r.Conn)
		side, err := statefile.Load(r.Path)
		if err != nil {
			t.Fatal(err)
		}
		certain := k == 0
		for _, f := range side.State.Trail {
			certain = certain || f.Number == k
		}
		r.Conn = open(t, uri(r.Path, r.Store, "restore=if-behind"))
		if err := flush(t.Context(), r.Path); errors.Is(err, shipper.ErrDiverged) && !certain {
			r.Conn.Close()
			continue
		}
		settled(t, r.Path)
		if got := query(t, r.Conn, "SELECT count(*) FROM t WHERE x LIKE 'shipped%'"); got != "2" {
			t.Errorf("after %d of %d frames, %s rows", k, frames, got)
		}
		r.Conn.Close()
		requireEqual(t, r.Store, r.Path)
	}
}

// If the store fails while replication examines the disk's loss, replication examines it
// again. Another program has since committed the same.
func TestLossIsLookedIntoAgain(t *testing.T) {
	const size = 4096
	r := newRun(t)
	set := func(conn *sqlite3.Conn, x string) { exec(t, conn, "UPDATE t SET x = '"+x+"' WHERE rowid = 1") }
	set(r.Conn, "this")
	settled(t, r.Path)
	side, err := statefile.Load(r.Path)
	if err != nil {
		t.Fatal(err)
	}
	shipped := side.State.Scanned
	set(r.Conn, "that")
	set(r.Conn, "this")
	settled(t, r.Path)
	d := save(t, r.Path)
	clear(d["-wal"][format.FrameOffset(size, shipped+1):])
	d.Crash(t, r.Store, r.Path, r.Conn)
	plain := open(t, "file:"+r.Path)
	set(plain, "else")
	set(plain, "this")
	var read, failed atomic.Bool
	r.Store.SetBefore(func(_ context.Context, op, _ string) error {
		if op == "open" {
			read.Store(true)
		}
		if op == "list" && read.Load() && failed.CompareAndSwap(false, true) {
			return errInjected
		}
		return nil
	})
	r.Open()
	settled(t, r.Path)
	if !failed.Load() {
		t.Error("nothing failed")
	}
	r.Conn.Close()
	requireEqual(t, r.Store, r.Path)
}
