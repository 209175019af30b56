package dbtest

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
	"github.com/walvfs/walvfs/shipper/replica"
	"github.com/walvfs/walvfs/shipper/storage"
)

// A bank is an application with an invariant: money moves between accounts, and each
// commit appends one row to a journal, so that every committed state differs from every
// other.
const (
	accounts = 50
	money    = accounts * 1000
)

// BankSchema creates a bank.
var BankSchema = []string{
	"CREATE TABLE account (id INTEGER PRIMARY KEY, balance INTEGER)",
	"CREATE TABLE journal (n INTEGER PRIMARY KEY, who TEXT)",
	"CREATE TABLE pad (id INTEGER PRIMARY KEY, data BLOB)",
	fmt.Sprintf("INSERT INTO account SELECT value, 1000 FROM generate_series(1, %d)", accounts),
}

// Transact moves money in one transaction. Some transactions are larger than the page
// cache, which spills, and some are rolled back.
func Transact(conn *sqlite3.Conn, rng *rand.Rand, who string) error {
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

// Maintain does maintenance work of applications and administrators between transactions.
func Maintain(conn *sqlite3.Conn, rng *rand.Rand) error {
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

// OpenBank opens a connection and creates a bank, with any page size and auto_vacuum.
func OpenBank(t *testing.T, uri string, rng *rand.Rand) *sqlite3.Conn {
	t.Helper()
	conn := Open(t, uri)
	Exec(t, conn, fmt.Sprintf("PRAGMA page_size=%d", 512<<rng.IntN(8)), fmt.Sprintf("PRAGMA auto_vacuum=%d", rng.IntN(3)))
	Exec(t, conn, BankSchema...)
	return conn
}

// DoBusiness opens a connection to each of the URIs, and lets it transact and maintain
// for two seconds.
func DoBusiness(t *testing.T, rng *rand.Rand, uris ...string) {
	t.Helper()
	deadline := time.Now().Add(2 * time.Second)
	var wg sync.WaitGroup
	for i, uri := range uris {
		rng := rand.New(rand.NewPCG(rng.Uint64(), 1))
		wg.Go(func() {
			if err := doBusiness(uri, fmt.Sprintf("c%d", i), rng, deadline); err != nil {
				t.Errorf("connection %d: %v", i, err)
			}
		})
	}
	wg.Wait()
}

func doBusiness(uri, who string, rng *rand.Rand, deadline time.Time) error {
	c, err := sqlite3.Open(uri)
	if err != nil {
		return err
	}
	defer c.Close()
	err = c.Exec(fmt.Sprintf("PRAGMA cache_size=%d; PRAGMA wal_autocheckpoint=%d", 10+rng.IntN(30), 1+rng.IntN(60)))
	for Expected(err) && time.Now().Before(deadline) {
		if err = Transact(c, rng, who); Expected(err) {
			err = Maintain(c, rng)
		}
	}
	if Expected(err) {
		return nil
	}
	return err
}

// RequireBank fails unless a database is in a state that the bank has committed. It
// returns the number of the newest commit.
func RequireBank(t *testing.T, conn *sqlite3.Conn, label string) int {
	t.Helper()
	if got := Query(t, conn, "PRAGMA integrity_check"); got != "ok" {
		t.Fatalf("%s: integrity_check: %s", label, got)
	}
	if Query(t, conn, "SELECT count(*) FROM sqlite_schema") < strconv.Itoa(len(BankSchema)-1) ||
		Query(t, conn, "SELECT count(*) FROM account") == "0" {
		return 0 // the schema was not complete yet
	}
	if got := Query(t, conn, "SELECT sum(balance) FROM account"); got != strconv.Itoa(money) {
		t.Fatalf("%s: the accounts hold %s, not %d", label, got, money)
	}
	count, last := Query(t, conn, "SELECT count(*) FROM journal"), Query(t, conn, "SELECT coalesce(max(n), 0) FROM journal")
	if count != last {
		t.Fatalf("%s: the journal has %s rows up to %s", label, count, last)
	}
	n, _ := strconv.Atoi(last)
	return n
}

// RequireEveryTXID applies the replica's files one after the other and fails unless each
// result is a committed state, and later TXIDs are later states.
func RequireEveryTXID(t *testing.T, store storage.Store) int {
	t.Helper()
	path := filepath.Join(t.TempDir(), "each.db")
	files, err := replica.All(t.Context(), store)
	if err != nil {
		t.Fatal(err)
	}
	last := 0
	for _, f := range files.Infos() {
		if f.Level != format.LevelRaw {
			continue
		}
		apply(t, store, f, path)
		conn := Open(t, "file:"+path+"?mode=ro&immutable=1")
		n := RequireBank(t, conn, "TXID "+f.MaxTXID.String())
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

// Expected reports whether an application must be ready for an error, or the test
// injected it.
func Expected(err error) bool {
	return err == nil || errors.Is(err, sqlite3.BUSY) || errors.Is(err, sqlite3.LOCKED) ||
		errors.Is(err, ErrInjected) || errors.Is(err, sqlite3.IOERR) || errors.Is(err, sqlite3.INTERRUPT)
}
