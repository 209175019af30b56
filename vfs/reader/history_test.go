package reader_test

import (
	"strings"
	"testing"

	"github.com/ncruces/go-sqlite3"

	"github.com/walvfs/walvfs/vfs/internal/dbtest"
	"github.com/walvfs/walvfs/vfs/reader/internal/readertest"
)

// A reader continues after the page size changes, which begins with a whole database.
func TestPageSizeChanges(t *testing.T) {
	store := dbtest.NewReplica(t)
	w := newWriter(t, store, 1024)
	w.commit(3)
	conn := dbtest.Open(t, uri(store))
	dbtest.RequireBank(t, conn, "before")
	for _, size := range []string{"8192", "512", "65536"} {
		w.close()
		plain := dbtest.Open(t, "file:"+w.path)
		dbtest.Exec(t, plain, "PRAGMA journal_mode=delete", "PRAGMA page_size="+size, "VACUUM")
		plain.Close()
		w.reopen()
		w.commit(2)
		dbtest.RequireBank(t, conn, size)
		if got := dbtest.Query(t, conn, "PRAGMA page_size"); got != size {
			t.Errorf("page size %s, want %s", got, size)
		}
		readertest.RequireRestored(t, conn, store, 0)
	}
}

// A replica that is emptied and written again has other content under its first TXIDs: a
// connection keeps its state and reports that, and a new connection reads the new
// content.
func TestReplicaIsWrittenAnew(t *testing.T) {
	store := dbtest.NewReplica(t)
	w := newWriter(t, store, 1024)
	w.commit(20)
	w.close()
	conn := dbtest.Open(t, uri(store))
	dbtest.RequireBank(t, conn, "before")
	at := dbtest.Query(t, conn, "PRAGMA walvfs_txid")
	for _, f := range files(t, store) {
		store.Delete(t.Context(), store.Layout().Key(f.Level, f.MinTXID, f.MaxTXID))
	}
	second := newWriter(t, store, 1024)
	dbtest.Exec(t, second.Conn, "CREATE TABLE new (x)")
	dbtest.Settled(t, second.path)
	dbtest.Exec(t, conn, "SELECT * FROM account")
	if got := dbtest.Query(t, conn, "PRAGMA walvfs_txid"); got != at {
		t.Errorf("TXID %s after %s", got, at)
	}
	fresh, err := sqlite3.Open(strings.Replace(uri(store), "vfs=replica&", "vfs=replica-impatient&", 1))
	if err != nil {
		t.Fatal(err)
	}
	defer fresh.Close()
	readertest.RequireRestored(t, fresh, store, 0)
}
