package reader_test

import (
	"errors"
	"fmt"
	"path/filepath"
	"strconv"
	"sync"
	"testing"

	"github.com/ncruces/go-sqlite3"

	"github.com/walvfs/walvfs/format"
	"github.com/walvfs/walvfs/shipper/storage/storagetest"
	"github.com/walvfs/walvfs/vfs"
	"github.com/walvfs/walvfs/vfs/internal/dbtest"
)

// Writers commit concurrently, so their commits meet cuts that begin, run and end. Each
// writer asks for its TXID, in both ways, and finds its commit with a reader that waits
// for that TXID, and with a reader opened at it.
func TestReadersSeeTheirWrites(t *testing.T) {
	store := dbtest.NewReplica(t)
	path := filepath.Join(t.TempDir(), "app.db")
	first := dbtest.Open(t, dbtest.URI(path, store))
	dbtest.Exec(t, first, "CREATE TABLE t (who INTEGER, n INTEGER)")
	if _, err := vfs.TXID(t.Context(), first); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for who := range 4 {
		w := dbtest.Open(t, dbtest.URI(path, store))
		dbtest.Exec(t, w, "PRAGMA busy_timeout=20000")
		r := dbtest.Open(t, uri(store, "interval=1h"))
		wg.Go(func() {
			for n := range 16 {
				if err := writeAndRead(t, store, w, r, who, n); err != nil {
					t.Errorf("writer %d, commit %d: %v", who, n, err)
					return
				}
			}
		})
	}
	wg.Wait()
}

func writeAndRead(t *testing.T, store *storagetest.Memory, w, r *sqlite3.Conn, who, n int) error {
	if err := w.Exec(fmt.Sprintf("INSERT INTO t VALUES (%d, %d)", who, n)); err != nil {
		return err
	}
	var at string
	if n%2 == 0 {
		txid, err := vfs.TXID(t.Context(), w)
		if err != nil {
			return err
		}
		at = txid.String()
	} else {
		var err error
		if at, err = text(w, "PRAGMA walvfs_wait"); err != nil {
			return err
		}
	}
	rows := fmt.Sprintf("SELECT max(n) FROM t WHERE who = %d", who)
	if err := r.Exec("PRAGMA walvfs_wait_txid='" + at + "'"); err != nil {
		return err
	}
	if got, err := text(r, rows); err != nil || got != strconv.Itoa(n) {
		return fmt.Errorf("a reader that waited for TXID %s sees commit %q, %v", at, got, err)
	}
	if n%4 > 0 {
		return nil
	}
	exact, err := sqlite3.Open(uri(store, "txid="+at))
	if err != nil {
		return err
	}
	defer exact.Close()
	if got, err := text(exact, rows); err != nil || got != strconv.Itoa(n) {
		return fmt.Errorf("TXID %s has commit %q, %v", at, got, err)
	}
	return nil
}

// A commit whose upload is under way has no TXID yet.
func TestTXIDOfAnUpload(t *testing.T) {
	store := dbtest.NewReplica(t)
	path := filepath.Join(t.TempDir(), "app.db")
	w := dbtest.Open(t, dbtest.URI(path, store))
	if _, err := vfs.TXID(t.Context(), w); !errors.Is(err, vfs.ErrNoTXID) {
		t.Errorf("before the first commit: %v", err)
	}
	dbtest.Exec(t, w, "CREATE TABLE t (x)")
	before, err := vfs.TXID(t.Context(), w)
	if err != nil {
		t.Fatal(err)
	}
	release := dbtest.Hold(t, store, w)
	dbtest.Exec(t, w, "INSERT INTO t VALUES (1)")
	got := make(chan format.TXID, 1)
	go func() {
		txid, err := vfs.TXID(t.Context(), w)
		if err != nil {
			t.Error(err)
		}
		got <- txid
	}()
	dbtest.Eventually(t, "TXID waits", func() bool { st, _ := dbtest.Status(path); return st.Sending.Total > 0 })
	release()
	if txid := <-got; txid < before+2 { // the delayed upload, and the next one
		t.Errorf("TXID %s, after %s", txid, before)
	}

	// Commits of an earlier run count, even before the first request to the store.
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	again := dbtest.Open(t, dbtest.URI(path, store))
	if txid, err := vfs.TXID(t.Context(), again); err != nil || txid != dbtest.LastTXID(t, store) {
		t.Errorf("after a restart: TXID %s, %v", txid, err)
	}
	plain := dbtest.Open(t, "file:"+filepath.Join(t.TempDir(), "plain.db"))
	if _, err := vfs.TXID(t.Context(), plain); !errors.Is(err, vfs.ErrNotReplicated) {
		t.Errorf("of a plain database: %v", err)
	}
}
