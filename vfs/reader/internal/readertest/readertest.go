// Package readertest compares the database that a connection to a replica sees with the
// restored replica.
package readertest

import (
	"bytes"
	"testing"

	"github.com/ncruces/go-sqlite3"
	"github.com/ncruces/go-sqlite3/vfs"

	"github.com/walvfs/walvfs/format"
	"github.com/walvfs/walvfs/shipper/storage"
	"github.com/walvfs/walvfs/vfs/internal/dbtest"
)

// Pages returns the database that a connection sees, through its file.
func Pages(t *testing.T, conn *sqlite3.Conn) []byte {
	t.Helper()
	b, err := readPages(conn)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func readPages(conn *sqlite3.Conn) ([]byte, error) {
	p, err := conn.FileControl("main", sqlite3.FCNTL_FILE_POINTER)
	if err != nil {
		return nil, err
	}
	f := p.(vfs.File)
	size, err := f.Size()
	if err != nil {
		return nil, err
	}
	b := make([]byte, size)
	for at := 0; at < len(b); at += 64 << 10 {
		if _, err := f.ReadAt(b[at:min(len(b), at+64<<10)], int64(at)); err != nil {
			return nil, err
		}
	}
	return b, nil
}

// RequireRestored fails unless a connection sees the database that a restore to a TXID
// returns.
func RequireRestored(t *testing.T, conn *sqlite3.Conn, store storage.Store, txid format.TXID) {
	t.Helper()
	path, restored := dbtest.Restored(t, store, txid)
	restored.Close()
	want, got := dbtest.ReadFile(t, path), Pages(t, conn)
	if len(got) != len(want) {
		t.Fatalf("TXID %s: %d bytes, restored %d", txid, len(got), len(want))
	}
	for _, b := range [][]byte{want, got} { // bytes that the reader changes
		copy(b[18:], "\x00\x00")
		copy(b[24:], "\x00\x00\x00\x00")
		copy(b[92:], "\x00\x00\x00\x00")
	}
	size := dbtest.PageSize(want)
	for off := 0; off < len(want); off += size {
		if !bytes.Equal(got[off:off+size], want[off:off+size]) {
			t.Fatalf("TXID %s: page %d differs", txid, off/size+1)
		}
	}
}
