package followtest

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/ncruces/go-sqlite3"

	"github.com/walvfs/walvfs/format"
	"github.com/walvfs/walvfs/shipper/replica"
	"github.com/walvfs/walvfs/shipper/restore"
	"github.com/walvfs/walvfs/shipper/storage"
)

// Masked returns a database file without the parts that are specific to a copy.
func Masked(t *testing.T, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range [][2]int{{18, 20}, {24, 32}, {92, 96}} {
		clear(b[r[0]:r[1]])
	}
	return b
}

// Image returns the database at a TXID.
func Image(t *testing.T, store storage.Store, txid format.TXID) []byte {
	t.Helper()
	path := filepath.Join(t.TempDir(), "image.db")
	if _, err := restore.Restore(t.Context(), store, path, restore.Options{TXID: txid}); err != nil {
		t.Fatal(err)
	}
	return Masked(t, path)
}

// RequireCopy compares a copy with the replica, and checks it with SQLite.
func RequireCopy(t *testing.T, store storage.Store, path string, txid format.TXID) {
	t.Helper()
	if got := Ask(t, path, "PRAGMA integrity_check"); got != "ok" {
		t.Fatalf("integrity_check: %s", got)
	}
	if !bytes.Equal(Masked(t, path), Image(t, store, txid)) {
		t.Fatalf("the copy is not the database at TXID %s", txid)
	}
}

// Ask returns the first column of the first row of a query on a database file.
func Ask(t *testing.T, path, sql string) string {
	t.Helper()
	conn, err := sqlite3.Open("file:" + path)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	text, err := First(conn, sql)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// First returns the first column of the first row.
func First(conn *sqlite3.Conn, sql string) (string, error) {
	stmt, _, err := conn.Prepare(sql)
	if err != nil {
		return "", err
	}
	defer stmt.Close()
	stmt.Step()
	return stmt.ColumnText(0), stmt.Err()
}

// Tip returns the newest TXID of a replica.
func Tip(t *testing.T, store storage.Store) format.TXID {
	t.Helper()
	files, err := replica.All(t.Context(), store)
	if err != nil {
		t.Fatal(err)
	}
	return files.Newest()
}

// Listed returns the files of a replica.
func Listed(t *testing.T, store storage.Store) []format.FileInfo {
	t.Helper()
	files, err := replica.All(t.Context(), store)
	if err != nil {
		t.Fatal(err)
	}
	return files.Infos()
}
