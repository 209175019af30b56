package vfs

import (
	"context"
	"path/filepath"
	"testing"

	"github.com/ncruces/go-sqlite3"
	"github.com/ncruces/go-sqlite3/vfs"

	"github.com/walvfs/walvfs/format"
	"github.com/walvfs/walvfs/internal/shipping"
	"github.com/walvfs/walvfs/shipper/storage/storagetest"
	"github.com/walvfs/walvfs/vfs/internal/ledger"
)

// newTestLedger returns the ledger of a database that was never opened.
func newTestLedger(tb testing.TB) *ledger.Ledger {
	i, _ := ledger.Inspect(filepath.Join(tb.TempDir(), "app.db"), "")
	return ledger.Open(i, "")
}

// Every commit frame restarts the rechecks, also while another connection's last commit
// frame never became a commit.
func TestCommitFrameRestartsRechecks(t *testing.T) {
	d := &database{ledger: newTestLedger(t)}
	d.ship = shipping.New(d, &storagetest.Memory{Before: func(ctx context.Context, _, _ string) error {
		<-ctx.Done()
		return ctx.Err()
	}}, shipping.Options{})
	defer d.ship.Close()
	failed, other := &walFile{File: nullFile{}, main: &mainFile{db: d}}, &walFile{File: nullFile{}, main: &mainFile{db: d}}
	commit := format.Frame{Page: 2, Commit: 9}.AppendTo(nil)
	failed.WriteAt(commit, 32)
	for range 3 {
		d.rechecks.Store(11)
		other.WriteAt(commit, 32)
		if d.rechecks.Load() != 0 || d.unsettled.Load() != 2 {
			t.Errorf("%d rechecks, %d unsettled connections", d.rechecks.Load(), d.unsettled.Load())
		}
	}
	other.main.settle()
	failed.main.settle()
	if d.unsettled.Load() != 0 {
		t.Errorf("%d unsettled connections", d.unsettled.Load())
	}
}

// syncedFile counts its syncs.
type syncedFile struct {
	vfs.File
	n int
}

func (f *syncedFile) Sync(flags vfs.SyncFlag) error {
	f.n++
	return f.File.Sync(flags)
}

// openInternal opens a new database with a table t through a VFS. The shipper is idle:
// its next upload is an hour away, so a test may make cuts itself.
func openInternal(t *testing.T, vfs string) (path string, conn *sqlite3.Conn, exec func(sql string)) {
	path = filepath.Join(t.TempDir(), "app.db")
	conn, err := sqlite3.Open("file:" + path + "?vfs=" + vfs + "&interval=1h&replica=file://" + t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	exec = func(sql string) {
		t.Helper()
		if err := conn.Exec(sql); err != nil {
			t.Fatal(err)
		}
	}
	exec("CREATE TABLE t (x)")
	if err := flushPath(t.Context(), path); err != nil {
		t.Fatal(err)
	}
	return path, conn, exec
}

// A cut that was read only from the WAL syncs the WAL, unless the WAL was reset since:
// then its pages are in the database file, which a checkpoint with synchronous=off does
// not sync.
func TestSyncAfterReset(t *testing.T) {
	for _, reset := range []bool{false, true} {
		path, _, exec := openInternal(t, "replicated")
		exec("PRAGMA synchronous=off; INSERT INTO t VALUES (1)")
		d := databases.find(path)
		cut, err := d.beginCut(nil)
		if err != nil || cut == nil {
			t.Fatal(cut, err)
		}
		page := make([]byte, 4096)
		for it := cut.Info().Pages.Iterator(); it.HasNext(); {
			if err := cut.ReadPages(it.Next(), page); err != nil {
				t.Fatal(err)
			}
		}
		if err := cut.Close(); err != nil {
			t.Fatal(err)
		}
		if reset {
			exec("PRAGMA wal_checkpoint(restart); INSERT INTO t VALUES (2)")
		}
		main := &syncedFile{File: d.main}
		cut.Main = main
		err = cut.Sync()()
		if err != nil || (main.n > 0) != reset {
			t.Errorf("with a reset %v: the database file was synced %d times: %v", reset, main.n, err)
		}
		cut.Abandon()
	}
}

// The size at a reset is the database's, whichever program set it: the ledger recognizes
// a smaller first commit after it.
func TestSizeOfOthers(t *testing.T) {
	path := filepath.Join(t.TempDir(), "app.db")
	ours, err := sqlite3.Open("file:" + path + "?vfs=replicated&interval=1h&_pragma=busy_timeout(1000)&_pragma=wal_autocheckpoint(0)&replica=file://" + t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer ours.Close()
	theirs, err := sqlite3.Open("file:" + path + "?_pragma=busy_timeout(1000)")
	if err != nil {
		t.Fatal(err)
	}
	defer theirs.Close()
	for _, step := range []struct {
		conn *sqlite3.Conn
		sql  string
	}{
		{ours, "CREATE TABLE t (x); INSERT INTO t SELECT randomblob(4000) FROM generate_series(1, 100)"},
		{theirs, "INSERT INTO t SELECT randomblob(4000) FROM generate_series(1, 300)"},
		{theirs, "DELETE FROM t WHERE rowid > 200"},
		{ours, "PRAGMA wal_checkpoint(passive)"},
	} {
		if err := step.conn.Exec(step.sql); err != nil {
			t.Fatal(step.sql, err)
		}
		if err := flushPath(t.Context(), path); err != nil {
			t.Fatal(err)
		}
	}
	if err := ours.Exec("VACUUM"); err != nil { // VACUUM also resets the WAL
		t.Fatal(err)
	}
	if l := databases.find(path).ledger.Peek(); l.Least == 0 || l.Least != l.Size {
		t.Errorf("the size is %d, and the least one is %d", l.Size, l.Least)
	}
}
