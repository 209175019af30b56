package vfs_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/walvfs/walvfs/format"
	"github.com/walvfs/walvfs/internal/statefile"
	"github.com/walvfs/walvfs/shipper"
	"github.com/walvfs/walvfs/shipper/restore"
)

// A crash between the note of a reset and the reset loses no page, whichever of the two
// the disk has kept.
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
			d.Crash(t, store, path, conn)
			r := &run{T: t, Store: store, Path: path}
			r.RequireShips(10)
		})
	}
}

// Replication does not silently overwrite commits that the replica has and the disk lost.
func TestDiskLostCommits(t *testing.T) {
	r := newRun(t)
	d := save(t, r.Path)
	frames := (len(d["-wal"]) - format.WALHeaderSize) / (4096 + format.FrameHeaderSize)
	if frames < 2 {
		t.Fatalf("the WAL has %d frames", frames)
	}
	// The disk loses the last commit.
	clear(d["-wal"][format.FrameOffset(4096, uint32(frames)):])
	d.Crash(t, r.Store, r.Path, r.Conn)
	tip := lastTXID(t, r.Store)
	r.Open()
	exec(t, r.Conn, "INSERT INTO t VALUES ('other')")
	if err := flush(t.Context(), r.Path); !errors.Is(err, shipper.ErrDiverged) || !strings.Contains(err.Error(), "the disk has lost commits") {
		t.Error(err)
	}
	if got := lastTXID(t, r.Store); got != tip {
		t.Errorf("the replica went from %s to %s", tip, got)
	}
	r.Conn.Close()
	r.Conn = open(t, uri(r.Path, r.Store, "diverged=overwrite"))
	settled(t, r.Path)
	r.Conn.Close()
	requireEqual(t, r.Store, r.Path)
}

// A decision about lost commits survives a crash.
func TestDiskLostIsDecided(t *testing.T) {
	r := newRun(t)
	d := save(t, r.Path)
	frames := (len(d["-wal"]) - format.WALHeaderSize) / (4096 + format.FrameHeaderSize)
	clear(d["-wal"][format.FrameOffset(4096, uint32(frames)):])
	d.Crash(t, r.Store, r.Path, r.Conn)
	r.Conn = open(t, uri(r.Path, r.Store, "diverged=overwrite"))
	exec(t, r.Conn, "INSERT INTO t VALUES ('other')")
	settled(t, r.Path)
	if side, err := statefile.Load(r.Path); err != nil || side.DiskLost {
		t.Errorf("the state file says that the disk has lost commits: %v, %v", side.DiskLost, err)
	}
	r.Conn.Close()
	requireEqual(t, r.Store, r.Path)
}

// A restored database takes over the replica when it is opened, with a file without
// pages: that fences the machine that had lost it, and no page is uploaded twice.
func TestTakeOver(t *testing.T) {
	r := newRun(t)
	second := filepath.Join(t.TempDir(), "app.db")
	machine := newAlias(t, r.Store)
	tip := lastTXID(t, r.Store)
	if _, err := restore.Restore(t.Context(), machine, second, restore.Options{}); err != nil {
		t.Fatal(err)
	}
	conn := open(t, uri(second, machine))
	eventually(t, "the next TXID is taken", func() bool { return lastTXID(t, r.Store) > tip })
	if got := pagesSince(t, r.Store, tip); got != 0 {
		t.Errorf("%d pages were uploaded", got)
	}
	exec(t, r.Conn, "INSERT INTO t VALUES ('old')")
	if err := flush(t.Context(), r.Path); !errors.Is(err, shipper.ErrFenced) {
		t.Errorf("the old machine got %v", err)
	}
	exec(t, conn, "INSERT INTO t VALUES ('new')")
	settled(t, second)
	if got := pagesSince(t, r.Store, tip); got > 3 {
		t.Errorf("%d pages were uploaded", got)
	}
	conn.Close()
	requireEqual(t, r.Store, second)
	requireIntact(t, r.Store)
}

// The state file stays small however long an outage lasts.
func TestStateFileIsBounded(t *testing.T) {
	r := newRun(t)
	down(r.Store)
	exec(t, r.Conn, "PRAGMA wal_autocheckpoint=10", "PRAGMA synchronous=off")
	for range 2000 {
		exec(t, r.Conn, "UPDATE t SET x = randomblob(400) WHERE rowid = abs(random()) % 500")
	}
	info, err := os.Stat(r.Path + statefile.Suffix)
	if err != nil {
		t.Fatal(err)
	}
	if info.Size() > 2<<20 {
		t.Errorf("the state file has %d bytes", info.Size())
	}
	r.Store.SetBefore(nil)
	settled(t, r.Path)
	r.Conn.Close()
	requireEqual(t, r.Store, r.Path)
}

// A state file that cannot be written costs only continuity.
func TestStateFileCannotBeWritten(t *testing.T) {
	store := newReplica(t)
	path := filepath.Join(t.TempDir(), "app.db")
	if err := os.MkdirAll(filepath.Join(path+statefile.Suffix, "in the way"), 0o700); err != nil {
		t.Fatal(err)
	}
	conn := open(t, uri(path, store))
	exec(t, conn, "CREATE TABLE t (x)", manyRows)
	settled(t, path)
	conn.Close()
	requireEqual(t, store, path)
}
