package reader_test

import (
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/ncruces/go-sqlite3"

	"github.com/walvfs/walvfs/format"
	"github.com/walvfs/walvfs/shipper/storage/storagetest"
	"github.com/walvfs/walvfs/vfs/internal/dbtest"
	"github.com/walvfs/walvfs/vfs/reader"
	"github.com/walvfs/walvfs/vfs/reader/internal/readertest"
)

var readersLog dbtest.LogLines

func init() {
	reader.Register("replica-logs", reader.Options{Logger: slog.New(slog.NewTextHandler(&readersLog, nil))})
}

// Readers run transactions while a writer commits, vacuums and compacts, and while the
// test deletes files as soon as others lead to the newest TXID. Each transaction sees one
// committed state, none older than the state before. The test continues until a
// transaction has lost files, and read their pages from others.
func TestReadersBesideAWriter(t *testing.T) {
	store := dbtest.NewReplica(t)
	w := newWriter(t, store, 512)
	dbtest.Exec(t, w.Conn, "INSERT INTO pad SELECT NULL, randomblob(900) FROM generate_series(1, 1300)") // larger than the cache
	w.commit(2)
	logged := strings.Replace(uri(store, "cache_memory=1MiB"), "vfs=replica&", "vfs=replica-logs&", 1)
	heals := func() int { return len(readersLog.With("replica file cannot be used, reading other files")) }
	done := make(chan struct{})
	var wg sync.WaitGroup
	stop := sync.OnceFunc(func() { close(done); wg.Wait() })
	defer stop()
	var reads, failed [3]int
	for i := range reads {
		conn, err := sqlite3.Open(logged)
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
	slow := dbtest.Open(t, logged)
	kept, lost := 0, 0
	for round := 0; round < 8 || kept == 0; round++ {
		if round == 500 {
			t.Fatalf("no transaction has seen files go and others come; %d were left without any", lost)
		}
		const all = "SELECT count(*) || ' ' || sum(length(data)) || ' ' || max(data) FROM pad"
		want, before := dbtest.Query(t, w.Conn, all), heals()
		tip := w.commit(0)
		dbtest.Exec(t, slow, "PRAGMA walvfs_wait_txid='"+tip.String()+"'", "BEGIN")
		dbtest.Query(t, slow, "SELECT count(*) FROM account")
		if round%2 > 0 {
			w.commit(2)
		}
		w.compact()
		retain(t, store, tip)
		switch got, err := text(slow, all); {
		case errors.Is(err, sqlite3.IOERR_READ):
			lost++
		case err != nil || got != want:
			t.Fatalf("a transaction that began before sees other rows: %v", err)
		case heals() > before:
			kept++
		}
		if !slow.GetAutocommit() {
			dbtest.Exec(t, slow, "ROLLBACK")
		}
		w.commit(1)
	}
	stop()
	t.Logf("%v transactions, %v whose files were gone; in the slow one, %d times others had the pages, %d times none", reads, failed, kept, lost)
	for i := range reads {
		if reads[i] == 0 || failed[i] > reads[i] {
			t.Errorf("reader %d: %d transactions, %d failed", i, reads[i], failed[i])
		}
	}
	conn := dbtest.Open(t, uri(store))
	readertest.RequireRestored(t, conn, store, 0)
}

// readBank checks a bank in one transaction, in several queries, and returns what
// identifies its state: the TXID and the newest row of the journal.
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
		if strings.Contains(got, "get page") || strings.Contains(got, "get the page") { // quick_check continues after this error
			if cause, err := text(conn, "PRAGMA walvfs_error"); err != nil || strings.Contains(cause, "no other files lead to TXID") {
				return "", errors.Join(sqlite3.IOERR_READ, err)
			}
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

// retain deletes all files that the newest TXID does not need, except level 0 files after
// a TXID, which no writer deletes immediately.
func retain(t *testing.T, store *storagetest.Memory, after format.TXID) {
	t.Helper()
	all := files(t, store)
	plan, err := all.Plan(0)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range all {
		if f.MinTXID > after && f.Level == 0 || slices.ContainsFunc(plan.Apply, func(g format.FileInfo) bool { return g == f.FileInfo }) {
			continue
		}
		if err := store.Delete(t.Context(), store.Layout().Key(f.Level, f.MinTXID, f.MaxTXID)); err != nil {
			t.Fatal(err)
		}
	}
}
