package vfs_test

import (
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"
	"testing"
	"time"

	"github.com/ncruces/go-sqlite3"

	"github.com/walvfs/walvfs/format"
	"github.com/walvfs/walvfs/shipper/replica"
	"github.com/walvfs/walvfs/shipper/restore"
)

// TestReaderHoldsWAL: a WAL grows beyond 100 MB because a reader stays. Each upload holds
// only the changed pages, and the end of the reader does not change that.
func TestReaderHoldsWAL(t *testing.T) {
	if testing.Short() {
		t.Skip("writes 100 MB")
	}
	store, path := newReplica(t), filepath.Join(t.TempDir(), "app.db")
	var replica replayed
	conn := open(t, uri(path, store, "_pragma=synchronous(off)"))
	exec(t, conn, "PRAGMA page_size=65536", "CREATE TABLE t (x)")
	settled(t, path)
	exec(t, conn, "INSERT INTO t SELECT randomblob(60000) FROM generate_series(1, 40)")
	reader := open(t, "file:"+path)
	exec(t, reader, "BEGIN")
	query(t, reader, "SELECT count(*) FROM t")
	for i := 0; ; i++ {
		exec(t, conn, "UPDATE t SET x = randomblob(60000)")
		if i%10 == 0 {
			before := lastTXID(t, store)
			settled(t, path)
			// At most the changed pages: those of the rows, the table and the header.
			if got := pagesSinceTXID(t, store, before); got > 2*45 {
				t.Errorf("%d pages were uploaded", got)
			}
		}
		if info, err := os.Stat(path + "-wal"); err != nil {
			t.Fatal(err)
		} else if info.Size() > 105<<20 {
			t.Logf("the WAL has %d MB", info.Size()>>20)
			break
		}
	}
	settled(t, path)
	replica.RequireTip(t, store, path, "while it is read")
	exec(t, reader, "COMMIT")
	reader.Close()
	checkpoint(t, conn, sqlite3.CHECKPOINT_TRUNCATE)
	exec(t, conn, "INSERT INTO t VALUES (1)")
	settled(t, path)
	replica.RequireTip(t, store, path, "after the reader")
	conn.Close()
	requireEqual(t, store, path)
	requireIntact(t, store)
}

// TestLockPage: a database larger than 1 GiB has a page that SQLite never writes, and no
// file of the replica holds it.
func TestLockPage(t *testing.T) {
	if testing.Short() || raceDetected() {
		t.Skip("writes 1 GiB")
	}
	start := time.Now()
	store := newReplica(t)
	path := filepath.Join(t.TempDir(), "app.db")
	conn := open(t, strings.Replace(uri(path, store, "_pragma=synchronous(off)", "close_timeout=60s"), "vfs=replicated&", "vfs=replicated-power&", 1))
	exec(t, conn, "PRAGMA page_size=65536", "CREATE TABLE t (x)")
	for range 9 {
		exec(t, conn, "INSERT INTO t SELECT zeroblob(65000*31) FROM generate_series(1, 60)")
	}
	exec(t, conn, "INSERT INTO t VALUES ('last')")
	lock := format.LockPage(65536)
	settled(t, path)
	t.Logf("written and shipped after %s", time.Since(start))
	exec(t, conn, "UPDATE t SET x = zeroblob(65000*40) WHERE rowid > 535", "DELETE FROM t WHERE rowid = 8")
	settled(t, path)
	files, err := replica.All(t.Context(), store)
	if err != nil {
		t.Fatal(err)
	}
	beyond := false
	for _, f := range files {
		r, _, err := store.Open(t.Context(), store.Layout().Key(f.Level, f.MinTXID, f.MaxTXID), 0, -1)
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := format.Decode(r, func(_ format.LTXHeader, pgno uint32, _ []byte) error {
			if pgno == lock {
				t.Errorf("%s holds the lock page", f)
			}
			beyond = beyond || pgno > lock
			return nil
		}); err != nil {
			t.Fatal(err)
		}
	}
	if !beyond {
		t.Fatal("the database does not reach the lock page")
	}
	conn.Close()
	target := filepath.Join(t.TempDir(), "restored.db")
	if _, err := restore.Restore(t.Context(), store, target, restore.Options{}); err != nil {
		t.Fatal(err)
	}
	got := open(t, "file:"+target)
	if rows, ok := query(t, got, "SELECT count(*) || ',' || sum(length(x)) FROM t"), query(t, got, "PRAGMA quick_check"); rows == "" || ok != "ok" {
		t.Errorf("%s, %s", rows, ok)
	}
	t.Logf("took %s", time.Since(start))
}

// raceDetected reports whether the race detector is on, which slows tests down.
func raceDetected() bool {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return false
	}
	for _, s := range info.Settings {
		if s.Key == "-race" {
			return s.Value == "true"
		}
	}
	return false
}
