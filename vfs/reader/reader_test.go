package reader_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ncruces/go-sqlite3"

	"github.com/walvfs/walvfs/vfs/internal/dbtest"
	"github.com/walvfs/walvfs/vfs/reader/internal/readertest"
)

// Every TXID equals the restored database, page for page, with any page size and any
// levels.
func TestEveryTXID(t *testing.T) {
	for _, pageSize := range []int{512, 4096, 65536} {
		t.Run(fmt.Sprint(pageSize), func(t *testing.T) {
			store := dbtest.NewReplica(t)
			w := newWriter(t, store, pageSize)
			w.levels()
			points := files(t, store).Restorable()
			for i := 0; i < len(points); i += 1 + len(points)/12 {
				conn := dbtest.Open(t, uri(store, "txid="+points[i].String()))
				readertest.RequireRestored(t, conn, store, points[i])
				if got := dbtest.Query(t, conn, "PRAGMA integrity_check"); got != "ok" {
					t.Errorf("TXID %s: integrity_check: %s", points[i], got)
				}
				conn.Close()
			}
			conn := dbtest.Open(t, uri(store))
			readertest.RequireRestored(t, conn, store, 0)
			dbtest.RequireBank(t, conn, "newest")
		})
	}
}

// A connection sees the commits before its transaction begins, and no others until it
// ends.
func TestTransactionsMoveOn(t *testing.T) {
	store := dbtest.NewReplica(t)
	w := newWriter(t, store, 4096)
	w.commit(1)
	conn := dbtest.Open(t, uri(store))
	other := dbtest.Open(t, uri(store))
	const sum = "SELECT group_concat(n || who || (SELECT sum(balance * id) FROM account)) FROM journal"
	for range 20 {
		dbtest.Exec(t, conn, "BEGIN")
		before := dbtest.Query(t, conn, sum)
		at := dbtest.Query(t, conn, "PRAGMA walvfs_txid")
		w.commit(2)
		if got := dbtest.Query(t, conn, sum); got != before {
			t.Fatalf("a transaction sees %s, and then %s", before, got)
		}
		if got := dbtest.Query(t, conn, "PRAGMA walvfs_txid"); got != at {
			t.Fatalf("TXID %s, and then %s", at, got)
		}
		dbtest.Exec(t, conn, "COMMIT")
		want := dbtest.Query(t, w.Conn, sum)
		for _, c := range []*sqlite3.Conn{conn, other} {
			if got := dbtest.Query(t, c, sum); got != want {
				t.Fatalf("a new transaction sees %s, not %s", got, want)
			}
		}
		readertest.RequireRestored(t, conn, store, 0)
	}
}

// A transaction keeps its view while other connections move on, page by page: neither
// SQLite's cache nor the VFS's holds its pages, and by then every page has changed or was
// cut off.
func TestTransactionsKeepTheirView(t *testing.T) {
	store := dbtest.NewReplica(t)
	w := newWriter(t, store, 1024)
	dbtest.Exec(t, w.Conn, "INSERT INTO pad SELECT NULL, randomblob(900) FROM generate_series(1, 1600)")
	w.commit(1)
	conn := dbtest.Open(t, uri(store, "cache_memory=1MiB"))
	other := dbtest.Open(t, uri(store, "cache_memory=1MiB"))
	dbtest.Exec(t, conn, "PRAGMA cache_size=4")
	const sum = "SELECT count(*) || ' ' || max(data) || ' ' || sum(id * length(data)) FROM pad NOT INDEXED"
	for _, change := range []string{
		"UPDATE pad SET data = randomblob(890)",
		"DELETE FROM pad WHERE id % 4 > 0; VACUUM",
		"INSERT INTO pad SELECT NULL, randomblob(900) FROM generate_series(1, 1600)",
	} {
		want := dbtest.Query(t, w.Conn, sum)
		dbtest.Exec(t, conn, "BEGIN")
		first := dbtest.Query(t, conn, "PRAGMA page_count")
		before := readertest.Pages(t, conn)
		dbtest.Exec(t, w.Conn, change)
		dbtest.Settled(t, w.path)
		if got := dbtest.Query(t, other, sum); got != dbtest.Query(t, w.Conn, sum) || got == want {
			t.Fatalf("%s: another connection does not see it", change)
		}
		if got := dbtest.Query(t, conn, sum); got != want {
			t.Errorf("%s: the transaction sees other rows", change)
		}
		if got := dbtest.Query(t, conn, "PRAGMA integrity_check"); got != "ok" {
			t.Errorf("%s: integrity_check: %s", change, got)
		}
		if got := dbtest.Query(t, conn, "PRAGMA page_count"); got != first {
			t.Errorf("%s: %s pages, and %s before", change, got, first)
		}
		if !bytes.Equal(before, readertest.Pages(t, conn)) {
			t.Errorf("%s: other pages", change)
		}
		dbtest.Exec(t, conn, "COMMIT")
		readertest.RequireRestored(t, other, store, 0)
	}
}

// Unsupported operations fail, and the error explains why.
func TestReadOnly(t *testing.T) {
	store := dbtest.NewReplica(t)
	w := newWriter(t, store, 4096)
	w.commit(3)
	conn := dbtest.Open(t, uri(store))
	for _, test := range []struct{ sql, want string }{
		{"INSERT INTO account VALUES (99, 0)", "readonly"},
		{"BEGIN IMMEDIATE; DELETE FROM account", "readonly"},
		{"VACUUM", "readonly"},
		{"PRAGMA locking_mode=exclusive", "at one TXID"},
		{"PRAGMA main.locking_mode='EXCLUSIVE'", "at one TXID"},
		{"PRAGMA journal_mode=wal", "read-only"},
		{"PRAGMA walvfs_status=1", "takes no value"},
		{"PRAGMA walvfs_sleep", "unknown"},
		{"PRAGMA walvfs_txid='x'", "hexadecimal"},
		{"PRAGMA walvfs_time='yesterday'", "2026-01-02T15:04:05Z"},
	} {
		err := conn.Exec(test.sql)
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v", test.sql, err)
		}
		if !conn.GetAutocommit() {
			dbtest.Exec(t, conn, "ROLLBACK")
		}
	}
	readertest.RequireRestored(t, conn, store, 0)
}

// Names other than the replica's belong to the default VFS.
func TestOtherFiles(t *testing.T) {
	store := dbtest.NewReplica(t)
	w := newWriter(t, store, 4096)
	w.commit(5)
	dir := t.TempDir()
	conn := dbtest.Open(t, uri(store))
	dbtest.Exec(t, conn,
		fmt.Sprintf("VACUUM INTO '%s/copy.db'", dir),
		fmt.Sprintf("ATTACH '%s/local.db' AS local", dir),
		"PRAGMA local.journal_mode=wal",
		"CREATE TABLE local.t AS SELECT * FROM account",
		"CREATE TEMP TABLE t2 AS SELECT * FROM journal",
		"UPDATE local.t SET balance = 0 WHERE id = 1")
	if got := dbtest.Query(t, conn, "SELECT count(*) FROM local.t JOIN account USING (id)"); got != "50" {
		t.Errorf("%s rows", got)
	}
	vacuumed := dbtest.Open(t, "file:"+dir+"/copy.db")
	dbtest.RequireBank(t, vacuumed, "VACUUM INTO")
}

// A replica ignores a local database of the same name and its WAL.
func TestLocalNamesake(t *testing.T) {
	store := dbtest.NewReplica(t)
	w := newWriter(t, store, 4096)
	w.commit(3)
	if _, err := os.Stat(w.path + "-wal"); err != nil {
		t.Fatal(err)
	}
	same := strings.Replace(uri(store), "file:copy.db", "file:"+w.path, 1)
	conn := dbtest.Open(t, same)
	dbtest.RequireBank(t, conn, "namesake")
	dbtest.RequireBank(t, w.Conn, "original")
	dbtest.Exec(t, w.Conn, "PRAGMA wal_checkpoint(TRUNCATE)")
	if err := conn.Exec(fmt.Sprintf("ATTACH '%s' AS original", w.path)); err == nil {
		t.Error("a local database has the name of a replica")
	}
}

// A query can compare two moments, and a label may name a directory that does not exist.
func TestTwoMoments(t *testing.T) {
	store := dbtest.NewReplica(t)
	w := newWriter(t, store, 4096)
	first := w.commit(1)
	then := dbtest.Query(t, w.Conn, "SELECT count(*) FROM journal")
	w.commit(20)
	now := dbtest.Query(t, w.Conn, "SELECT count(*) FROM journal")
	conn := dbtest.Open(t, uri(store))
	before := strings.Replace(uri(store, "txid="+first.String()), "copy.db", filepath.Join(t.TempDir(), "none", "before.db"), 1)
	dbtest.Exec(t, conn, fmt.Sprintf("ATTACH '%s' AS before", before))
	got := dbtest.Query(t, conn, "SELECT (SELECT count(*) FROM before.journal) || ' ' || (SELECT count(*) FROM main.journal)")
	if got != then+" "+now {
		t.Errorf("%s rows, not %s %s", got, then, now)
	}
}

// An unknown or meaningless parameter fails the open, and the error names the remedy.
func TestParameters(t *testing.T) {
	store := dbtest.NewReplica(t)
	w := newWriter(t, store, 4096)
	w.commit(1)
	for params, want := range map[string]string{
		"intervall=1s":                          "did you mean interval?",
		"cache_memory=1":                        "at least 1MiB",
		"txid=0":                                "hexadecimal",
		"timestamp=now":                         "expected a time",
		"immutable=1":                           "immutable",
		"nolock=1":                              "nolock",
		"interval=-1s":                          "expected a duration",
		"endpoint=http://x":                     "belongs to the replica URL",
		"txid=1&timestamp=2026-01-01T00:00:00Z": "keep one",
		"txid=ffff":                             "beyond",
		"replica=memory://other":                "twice",
		"durability=sync":                       "unknown parameter durability",
	} {
		conn, err := sqlite3.Open(uri(store, params))
		if err == nil {
			conn.Close()
		}
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", params, err)
		}
	}
	if _, err := sqlite3.Open("file:x.db?vfs=replica"); err == nil || !strings.Contains(err.Error(), "add &replica=URL") {
		t.Errorf("without a replica: %v", err)
	}
}
