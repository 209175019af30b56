package vfs_test

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/ncruces/go-sqlite3"

	"github.com/walvfs/walvfs/format"
	"github.com/walvfs/walvfs/shipper/restore"
	"github.com/walvfs/walvfs/shipper/storage"
)

// A bank is an application with an invariant: money moves between accounts, and
// each commit appends one row to a journal, so that every state that was ever
// committed can be told from every other one.
const (
	accounts = 50
	money    = accounts * 1000
)

var bankSchema = []string{
	"CREATE TABLE account (id INTEGER PRIMARY KEY, balance INTEGER)",
	"CREATE TABLE journal (n INTEGER PRIMARY KEY, who TEXT)",
	"CREATE TABLE pad (id INTEGER PRIMARY KEY, data BLOB)",
	fmt.Sprintf("INSERT INTO account SELECT value, 1000 FROM generate_series(1, %d)", accounts),
}

// transact moves money in one transaction, sometimes one larger than the page
// cache, which spills, and sometimes rolled back.
func transact(conn *sqlite3.Conn, rng *rand.Rand, who string) error {
	if err := conn.Exec("BEGIN IMMEDIATE"); err != nil {
		return err
	}
	err := fillTransaction(conn, rng, who)
	if err == nil && rng.IntN(6) > 0 {
		err = conn.Exec("COMMIT")
		if err == nil {
			return nil
		}
	}
	if !conn.GetAutocommit() {
		return errors.Join(err, conn.Exec("ROLLBACK"))
	}
	return err
}

func fillTransaction(conn *sqlite3.Conn, rng *rand.Rand, who string) error {
	for range 1 + rng.IntN(5) {
		from, to, sum := 1+rng.IntN(accounts), 1+rng.IntN(accounts), rng.IntN(100)
		if err := conn.Exec(fmt.Sprintf(
			"UPDATE account SET balance = balance - %d WHERE id = %d; UPDATE account SET balance = balance + %d WHERE id = %d",
			sum, from, sum, to)); err != nil {
			return err
		}
	}
	switch rng.IntN(12) {
	case 0:
		if err := conn.Exec("INSERT INTO pad(data) SELECT randomblob(400) FROM generate_series(1, 200); UPDATE pad SET data = randomblob(300) WHERE id % 3 = 0"); err != nil {
			return err
		}
	case 1:
		if err := conn.Exec("DELETE FROM pad WHERE id % 2 = 0"); err != nil {
			return err
		}
	}
	return conn.Exec(fmt.Sprintf("INSERT INTO journal SELECT coalesce(max(n), 0) + 1, '%s' FROM journal", who))
}

// maintain does what applications and administrators do beside transactions.
func maintain(conn *sqlite3.Conn, rng *rand.Rand) error {
	switch rng.IntN(40) {
	case 0:
		return conn.Exec("VACUUM")
	case 1, 2:
		return conn.Exec("PRAGMA incremental_vacuum")
	case 3:
		return conn.Exec("DELETE FROM pad; PRAGMA incremental_vacuum")
	case 4, 5, 6, 7:
		mode := []string{"PASSIVE", "FULL", "RESTART", "TRUNCATE"}[rng.IntN(4)]
		return conn.Exec("PRAGMA wal_checkpoint(" + mode + ")")
	}
	return nil
}

// requireBank fails unless a database is one that the bank has committed, and
// returns the number of its newest commit.
func requireBank(t *testing.T, conn *sqlite3.Conn, label string) int {
	t.Helper()
	if got := query(t, conn, "PRAGMA integrity_check"); got != "ok" {
		t.Fatalf("%s: integrity_check: %s", label, got)
	}
	if query(t, conn, "SELECT count(*) FROM sqlite_schema") < strconv.Itoa(len(bankSchema)-1) ||
		query(t, conn, "SELECT count(*) FROM account") == "0" {
		return 0 // the schema was not complete yet
	}
	if got := query(t, conn, "SELECT sum(balance) FROM account"); got != strconv.Itoa(money) {
		t.Fatalf("%s: the accounts hold %s, not %d", label, got, money)
	}
	count, last := query(t, conn, "SELECT count(*) FROM journal"), query(t, conn, "SELECT coalesce(max(n), 0) FROM journal")
	if count != last {
		t.Fatalf("%s: the journal has %s rows up to %s", label, count, last)
	}
	n, _ := strconv.Atoi(last)
	return n
}

// requireEveryTXID applies the replica's files one after the other and fails
// unless each result is a state that was committed, and later TXIDs later ones.
func requireEveryTXID(t *testing.T, store storage.Store) int {
	t.Helper()
	path := filepath.Join(t.TempDir(), "each.db")
	files, err := restore.ListFiles(t.Context(), store)
	if err != nil {
		t.Fatal(err)
	}
	last := 0
	for _, f := range files {
		if f.Level != format.LevelRaw {
			continue
		}
		apply(t, store, f, path)
		conn := open(t, "file:"+path+"?mode=ro&immutable=1")
		n := requireBank(t, conn, "TXID "+f.MaxTXID.String())
		conn.Close()
		if n < last {
			t.Fatalf("TXID %s is at commit %d, the one before was at %d", f.MaxTXID, n, last)
		}
		last = n
	}
	return len(files)
}

func apply(t *testing.T, store storage.Store, f format.FileInfo, path string) {
	t.Helper()
	r, _, err := store.Open(t.Context(), store.Layout().Key(f.Level, f.MinTXID, f.MaxTXID), 0, -1)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	db, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o666)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	h, _, err := format.Decode(r, func(_ format.LTXHeader, pgno uint32, page []byte) error {
		_, err := db.WriteAt(page, int64(pgno-1)*int64(len(page)))
		return err
	})
	if err == nil {
		err = db.Truncate(int64(h.Commit) * int64(h.PageSize))
	}
	if err != nil && err != io.EOF {
		t.Fatalf("%s: %v", f, err)
	}
}

// expected reports whether an error is one that an application must be ready for,
// or one that the test injected.
func expected(err error) bool {
	return err == nil || errors.Is(err, sqlite3.BUSY) || errors.Is(err, sqlite3.LOCKED) ||
		errors.Is(err, errInjected) || errors.Is(err, sqlite3.IOERR) || errors.Is(err, sqlite3.INTERRUPT)
}

// TestPrefix is invariant 1, and 2 at its end: several connections write while
// cuts run, and every TXID is the database at one commit boundary.
func TestPrefix(t *testing.T) {
	for _, test := range []struct {
		name    string
		faults  bool
		foreign bool
		params  []string
	}{
		{name: "plain"},
		{name: "psow=0", params: []string{"psow=0"}},
		{name: "synchronous=full,psow=0", params: []string{"psow=0", "_pragma=synchronous(full)"}},
		{name: "faults", faults: true, params: []string{"_pragma=synchronous(full)"}},
		{name: "faults,psow=0", faults: true, params: []string{"psow=0", "_pragma=synchronous(full)"}},
		{name: "foreign", foreign: true},
		{name: "foreign,faults", foreign: true, faults: true, params: []string{"_pragma=synchronous(full)"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			seed := rand.Uint64()
			t.Logf("seed %d", seed)
			rng := rand.New(rand.NewPCG(seed, 0))
			store := newReplica(t)
			path := filepath.Join(t.TempDir(), "bank.db")
			hooks, on := sometimes(400, 40)
			pageSize := 512 << rng.IntN(8)
			main := faulty(path, store, hooks, append([]string{"_pragma=busy_timeout(20000)"}, test.params...)...)
			conn := open(t, main)
			exec(t, conn, fmt.Sprintf("PRAGMA page_size=%d", pageSize), fmt.Sprintf("PRAGMA auto_vacuum=%d", rng.IntN(3)))
			exec(t, conn, bankSchema...)

			on.Store(test.faults)
			deadline := time.Now().Add(2 * time.Second)
			var wg sync.WaitGroup
			run := func(who, uri string, seed uint64) {
				defer wg.Done()
				rng := rand.New(rand.NewPCG(seed, 1))
				c, err := sqlite3.Open(uri)
				if err != nil {
					t.Errorf("%s: %v", who, err)
					return
				}
				defer c.Close()
				setup := fmt.Sprintf("PRAGMA cache_size=%d; PRAGMA wal_autocheckpoint=%d", 10+rng.IntN(30), 1+rng.IntN(60))
				if err := c.Exec(setup); !expected(err) {
					t.Errorf("%s: %v", who, err)
				}
				for time.Now().Before(deadline) {
					if err := transact(c, rng, who); !expected(err) {
						t.Errorf("%s: %v", who, err)
						return
					}
					if err := maintain(c, rng); !expected(err) {
						t.Errorf("%s: %v", who, err)
						return
					}
				}
			}
			for i := range 4 {
				wg.Add(1)
				go run(fmt.Sprintf("c%d", i), main, rng.Uint64())
			}
			if test.foreign {
				wg.Add(1)
				go run("foreign", "file:"+path+"?_pragma=busy_timeout(20000)", rng.Uint64())
			}
			wg.Wait()
			on.Store(false)
			tip := settled(t, path)
			final := requireBank(t, conn, "the database")
			conn.Close()
			requireEqual(t, store, path)
			files := requireEveryTXID(t, store)
			t.Logf("page size %d: %d commits in %d TXIDs, tip %s", pageSize, final, files, tip)
		})
	}
}
