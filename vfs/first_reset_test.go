package vfs_test

import (
	"testing"

	"github.com/ncruces/go-sqlite3"
)

// After an open, the first reset of the WAL uploads only the pages written since the last
// cut, however large the database has become meanwhile.
func TestFirstResetAfterOpen(t *testing.T) {
	r := newRun(t)
	r.Conn.Close()
	r.Open()
	exec(t, r.Conn, "PRAGMA wal_autocheckpoint=0")
	for range 4 {
		exec(t, r.Conn, manyRows) // some 70 pages
		settled(t, r.Path)
	}
	for range 3 {
		before := lastTXID(t, r.Store)
		exec(t, r.Conn, "UPDATE t SET x = randomblob(500) WHERE rowid = 1")
		checkpoint(t, r.Conn, sqlite3.CHECKPOINT_FULL)
		exec(t, r.Conn, "UPDATE t SET x = randomblob(500) WHERE rowid = 2")
		settled(t, r.Path)
		if got := pagesSince(t, r.Store, before); got == 0 || got > 4 {
			t.Errorf("%d pages were uploaded, 2 have changed", got)
		}
	}
	r.Conn.Close()
	requireEqual(t, r.Store, r.Path)
}
