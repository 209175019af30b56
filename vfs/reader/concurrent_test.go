package reader_test

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"testing"

	"github.com/ncruces/go-sqlite3"

	"github.com/walvfs/walvfs/format"
	"github.com/walvfs/walvfs/shipper/storage/storagetest"
	"github.com/walvfs/walvfs/vfs/internal/dbtest"
	"github.com/walvfs/walvfs/vfs/reader/internal/readertest"
)

// Readers in transactions, beside a writer that commits, vacuums, compacts, and whose
// files are deleted as soon as others lead to the newest TXID: each transaction sees one
// committed state, and none is older than the one before.
func TestReadersBesideAWriter(t *testing.T) {
	store := dbtest.NewReplica(t)
	w := newWriter(t, store, 512)
	w.commit(2)
	done := make(chan struct{})
	var wg sync.WaitGroup
	var reads, failed [3]int
	for i := range reads {
		conn, err := sqlite3.Open(uri(store, "cache_memory=1MiB"))
		if err != nil {
			t.Fatal(err)
		}
		wg.Go(func() {
			defer conn.Close()
			last := ""
			for open := true; open; {
				select {
				case <-done:
					open = false
				default:
				}
				state, err := readBank(conn)
				switch {
				case errors.Is(err, sqlite3.IOERR_READ):
					failed[i]++
				case err != nil:
					t.Error(err)
					return
				case state < last:
					t.Errorf("state %s after %s", state, last)
				default:
					reads[i]++
					last = state
				}
			}
		})
	}
	for range 12 {
		w.commit(2)
		w.compact()
		retain(t, store)
	}
	close(done)
	wg.Wait()
	t.Logf("%v transactions, %v whose files were gone", reads, failed)
	for i := range reads {
		if reads[i] == 0 || failed[i] > reads[i] {
			t.Errorf("reader %d: %d transactions, %d failed", i, reads[i], failed[i])
		}
	}
	conn := dbtest.Open(t, uri(store))
	readertest.RequireRestored(t, conn, store, 0)
}

// readBank checks a bank in one transaction, in several queries, and returns what tells
// its state: the TXID and the newest row of the journal.
func readBank(conn *sqlite3.Conn) (state string, err error) {
	if err := conn.Exec("BEGIN"); err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, conn.Exec("ROLLBACK")) }()
	first, err := text(conn, "SELECT coalesce(max(n), 0) FROM journal")
	if err != nil {
		return "", err
	}
	for _, q := range []struct{ sql, want string }{
		{"SELECT sum(balance) FROM account", "50000"},
		{"SELECT coalesce(max(n), 0) FROM journal", first},
		{"SELECT count(*) FROM journal", first},
		{"PRAGMA quick_check", "ok"},
	} {
		got, err := text(conn, q.sql)
		if err != nil {
			return "", err
		}
		if got != q.want {
			return "", fmt.Errorf("%s: %s, want %s", q.sql, got, q.want)
		}
	}
	txid, err := text(conn, "PRAGMA walvfs_txid")
	n, _ := strconv.Atoi(first)
	return fmt.Sprintf("%s %06d", txid, n), err
}

func text(conn *sqlite3.Conn, sql string) (string, error) {
	stmt, _, err := conn.Prepare(sql)
	if err != nil {
		return "", err
	}
	defer stmt.Close()
	s := ""
	if stmt.Step() {
		s = stmt.ColumnText(0)
	}
	return s, stmt.Err()
}

// retain deletes all files that the newest TXID does not need, but for the newest level 0
// file, which no writer deletes.
func retain(t *testing.T, store *storagetest.Memory) {
	t.Helper()
	all := files(t, store)
	plan, err := all.Plan(0)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range all {
		if f.MaxTXID == plan.TXID() && f.Level == 0 || slices.ContainsFunc(plan.Apply, func(g format.FileInfo) bool { return g == f.FileInfo }) {
			continue
		}
		if err := store.Delete(t.Context(), store.Layout().Key(f.Level, f.MinTXID, f.MaxTXID)); err != nil {
			t.Fatal(err)
		}
	}
}
