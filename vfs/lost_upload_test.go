package vfs_test

import (
	"context"
	"errors"
	"path/filepath"
	"testing"

	"github.com/walvfs/walvfs/format"
	"github.com/walvfs/walvfs/internal/statefile"
	"github.com/walvfs/walvfs/shipper"
	"github.com/walvfs/walvfs/vfs"
)

// On a disk that loses synced writes, the first upload may be in the replica, but not in
// the WAL. Replication halts at every open, also after a reset of the WAL.
func TestLostFirstUploadHaltsForGood(t *testing.T) {
	const size = 4096
	r := &run{T: t, Store: newReplica(t), Path: filepath.Join(t.TempDir(), "app.db")}
	r.Open()
	down(r.Store)
	exec(t, r.Conn, "CREATE TABLE t (x)", "INSERT INTO t VALUES (1)")
	d := saveUnacknowledged(t, r)
	clear(d["-wal"][format.FrameOffset(size, 1):])
	d.Crash(t, r.Store, r.Path, r.Conn)
	requireHalted(t, r)
}

// A run that recognizes an upload by its intent knows that the replica has it: if the
// disk loses it afterwards, it has lost commits.
func TestRecognizedIsLost(t *testing.T) {
	const size = 4096
	r := newRun(t)
	side, err := statefile.Load(r.Path)
	if err != nil {
		t.Fatal(err)
	}
	d := saveUnacknowledged(t, r)
	tip := lastTXID(t, r.Store)
	d.Crash(t, r.Store, r.Path, r.Conn)
	// The next run recognizes the file, and uploads no other.
	r.Store.SetBefore(func(_ context.Context, op, _ string) error {
		if op == "create" {
			return errInjected
		}
		return nil
	})
	r.Open()
	exec(t, r.Conn, "SELECT 1")
	eventually(t, "recognized", func() bool {
		vfs.Wake(r.Path)
		side, err := statefile.Load(r.Path)
		return err == nil && side.Acked != nil && side.Acked.TXID == tip
	})
	d = save(t, r.Path)
	clear(d["-wal"][format.FrameOffset(size, side.State.Scanned+1):])
	d.Crash(t, r.Store, r.Path, r.Conn)
	requireHalted(t, r)
}

// If the disk has lost the last upload, which the replica has, and the WAL holds nothing
// else, restore=if-behind restores it.
func TestLostUploadIsRestored(t *testing.T) {
	for _, acked := range []int{0, 1} { // earlier uploads that are lost, too
		lostUploadIsRestored(t, acked)
	}
}

func lostUploadIsRestored(t *testing.T, acked int) {
	const size = 4096
	r := newRun(t)
	exec(t, r.Conn, "INSERT INTO t VALUES ('shipped, too')")
	settled(t, r.Path)
	side, err := statefile.Load(r.Path)
	if err != nil {
		t.Fatal(err)
	}
	d := saveUnacknowledged(t, r)
	n := side.State.Trail[len(side.State.Trail)-1-acked].Number
	clear(d["-wal"][format.FrameOffset(size, n+1):])
	d.Crash(t, r.Store, r.Path, r.Conn)
	r.Conn = open(t, uri(r.Path, r.Store, "restore=if-behind"))
	settled(t, r.Path)
	r.Conn.Close()
	requireEqual(t, r.Store, r.Path)
}

// An intent is written at the same time as the sync of the WAL that its upload waits for.
// A power loss may keep the intent and lose the WAL: then the upload did not begin, and
// the disk has lost nothing that the replica has.
func TestIntentBeforeWAL(t *testing.T) {
	const size = 4096
	for _, kept := range []uint32{0, 1} {
		r := newRun(t)
		side, err := statefile.Load(r.Path)
		if err != nil {
			t.Fatal(err)
		}
		shipped := side.State.Scanned
		down(r.Store)
		exec(t, r.Conn, "INSERT INTO t SELECT randomblob(1000) FROM generate_series(1, 10)")
		eventually(t, "an intent", func() bool {
			side, err := statefile.Load(r.Path)
			return err == nil && len(side.Intents) == 1 && side.Intents[0].End.Number > shipped+1
		})
		d := save(t, r.Path)
		clear(d["-wal"][format.FrameOffset(size, shipped+1+kept):])
		d.Crash(t, r.Store, r.Path, r.Conn)
		before := lastTXID(t, r.Store)
		r.Open()
		settled(t, r.Path)
		exec(t, r.Conn, "INSERT INTO t VALUES ('mine')")
		settled(t, r.Path)
		if pages := pagesSince(t, r.Store, before); pages > 30 {
			t.Errorf("%d pages were uploaded", pages)
		}
		r.Conn.Close()
		requireEqual(t, r.Store, r.Path)
	}
}

// saveUnacknowledged ships an upload, and returns the database's files before its
// acknowledgement.
func saveUnacknowledged(t *testing.T, r *run) disk {
	release := hold(t, r.Store, r.Conn)
	d := save(t, r.Path)
	release()
	settled(t, r.Path)
	return d
}

// requireHalted opens a database several times, and fails if a run uploads a file.
func requireHalted(t *testing.T, r *run) {
	t.Helper()
	tip := lastTXID(t, r.Store)
	for i := range 3 {
		r.Open()
		exec(t, r.Conn, "CREATE TABLE IF NOT EXISTS t (x)", "INSERT INTO t VALUES ('mine')")
		if err := flush(t.Context(), r.Path); !errors.Is(err, shipper.ErrDiverged) {
			t.Errorf("open %d: %v", i, err)
		}
		r.Conn.Close()
	}
	if got := lastTXID(t, r.Store); got != tip {
		t.Errorf("the replica went from %s to %s", tip, got)
	}
}

// On a disk that loses synced writes, the replica may have the upload of such an intent.
// The database does not hold it, so replication halts.
func TestIntentBeforeLostWAL(t *testing.T) {
	const size = 4096
	r := newRun(t)
	side, err := statefile.Load(r.Path)
	if err != nil {
		t.Fatal(err)
	}
	d := saveUnacknowledged(t, r)
	clear(d["-wal"][format.FrameOffset(size, side.State.Scanned+1):])
	d.Crash(t, r.Store, r.Path, r.Conn)
	requireHalted(t, r)
}
