package dbtest

import (
	"bytes"
	"context"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/ncruces/go-sqlite3"

	"github.com/walvfs/walvfs/format"
	"github.com/walvfs/walvfs/shipper"
	"github.com/walvfs/walvfs/shipper/replica"
	"github.com/walvfs/walvfs/shipper/restore"
	"github.com/walvfs/walvfs/shipper/storage"
	"github.com/walvfs/walvfs/shipper/storage/storagetest"
	"github.com/walvfs/walvfs/vfs"
)

// Flush calls [vfs.DB.Flush] of the database at a path.
func Flush(ctx context.Context, path string) error {
	db, err := vfs.Lookup(path)
	if err != nil {
		return err
	}
	return db.Flush(ctx)
}

// Compact calls [vfs.DB.Compact] of the database at a path.
func Compact(ctx context.Context, path string) error {
	db, err := vfs.Lookup(path)
	if err != nil {
		return err
	}
	return db.Compact(ctx)
}

// Status calls [vfs.DB.Status] of the database at a path. It reports false if the
// database is not replicated.
func Status(path string) (shipper.Status, bool) {
	db, err := vfs.Lookup(path)
	if err != nil {
		return shipper.Status{}, false
	}
	return db.Status(), true
}

// Settled waits until the replica has all commits, and returns its tip.
func Settled(t *testing.T, path string) format.TXID {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	if err := Flush(ctx, path); err != nil {
		st, _ := Status(path)
		t.Fatalf("the replica does not catch up: %v (%+v)", err, st)
	}
	st, _ := Status(path)
	return st.Tip.TXID
}

// Restored restores a TXID, 0 for the newest, and opens the restored database.
func Restored(t *testing.T, store storage.Store, txid format.TXID) (string, *sqlite3.Conn) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "restored.db")
	if _, err := restore.Restore(t.Context(), store, path, restore.Options{TXID: txid}); err != nil {
		t.Fatalf("restore TXID %s: %v", txid, err)
	}
	conn := Open(t, "file:"+path)
	if got := Query(t, conn, "PRAGMA integrity_check"); got != "ok" {
		t.Fatalf("TXID %s: integrity_check: %s", txid, got)
	}
	return path, conn
}

// ReplicaRows counts the rows of table t in the replica's newest state.
func ReplicaRows(t *testing.T, store storage.Store) string {
	t.Helper()
	_, conn := Restored(t, store, 0)
	defer conn.Close()
	return Query(t, conn, "SELECT count(*) FROM t")
}

// RequireEqual fails unless the replica restores to the same bytes as the database file,
// after its whole WAL was checkpointed, and they pass integrity_check.
func RequireEqual(t *testing.T, store storage.Store, path string) {
	t.Helper()
	if _, err := os.Stat(path + "-wal"); err == nil {
		plain := Open(t, "file:"+path)
		Exec(t, plain, "PRAGMA wal_checkpoint(TRUNCATE)")
		plain.Close()
	}
	live, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	copied := filepath.Join(t.TempDir(), "copy.db")
	if _, err := restore.Restore(t.Context(), store, copied, restore.Options{}); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(copied)
	if err != nil {
		t.Fatal(err)
	}
	if len(got) != len(live) {
		t.Fatalf("restored %d bytes, the database has %d", len(got), len(live))
	}
	size := PageSize(live)
	for off := 0; off < len(live); off += size {
		if !bytes.Equal(got[off:off+size], live[off:off+size]) {
			t.Errorf("page %d differs", off/size+1)
		}
	}
	conn := Open(t, "file:"+(&url.URL{Path: copied}).EscapedPath()+"?mode=ro&immutable=1")
	defer conn.Close()
	if got := Query(t, conn, "PRAGMA integrity_check"); got != "ok" {
		t.Errorf("integrity_check: %s", got)
	}
}

// RequireIntact restores every TXID and checks its integrity.
func RequireIntact(t *testing.T, store storage.Store) {
	t.Helper()
	for txid := LastTXID(t, store); txid > 0; txid-- {
		_, conn := Restored(t, store, txid)
		conn.Close()
	}
}

// LastTXID returns the newest TXID that a replica holds.
func LastTXID(t *testing.T, store storage.Store) (last format.TXID) {
	t.Helper()
	files, err := replica.All(t.Context(), store)
	if err != nil {
		t.Fatal(err)
	}
	return files.Newest()
}

// PagesSince counts the pages in the files after a TXID.
func PagesSince(t *testing.T, store *storagetest.Memory, txid format.TXID) (pages uint64) {
	t.Helper()
	files, err := replica.All(t.Context(), store)
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
		r.Close()
	}
	return pages
}

// RequireReplicated fails unless the replica's newest TXID has so many rows.
func RequireReplicated(t *testing.T, store *storagetest.Memory, rows int) {
	t.Helper()
	_, conn := Restored(t, store, 0)
	defer conn.Close()
	if got := Query(t, conn, "SELECT count(*) FROM t"); got != fmt.Sprint(rows) {
		t.Errorf("the replica has %s rows, not %d", got, rows)
	}
}

// Hurried is [Settled] for a replica that fails now and then. It does not wait for a
// backoff.
func Hurried(t *testing.T, path, label string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- Flush(ctx, path) }()
	soon, over := context.WithCancel(ctx)
	over()
	for {
		select {
		case err := <-done:
			if err != nil {
				st, _ := Status(path)
				t.Fatalf("%s: the replica does not catch up: %v (%+v)", label, err, st)
			}
			return
		case <-time.After(time.Millisecond):
			Flush(soon, path)
		}
	}
}
