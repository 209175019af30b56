package restore_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/ncruces/go-sqlite3"

	"github.com/walvfs/walvfs/shipper/restore"
	"github.com/walvfs/walvfs/vfs"
)

const (
	schema = "CREATE TABLE t (x BLOB)"
)

func manyRows(n int) string {
	return fmt.Sprintf("INSERT INTO t (x) WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n LIMIT %d) SELECT randomblob(1500) FROM n", n)
}

// Readers of the copy see it at one commit after another, never at none, while the
// database changes, grows and shrinks.
func TestFollowReaders(t *testing.T) {
	for _, size := range []int{512, 4096, 65536} {
		t.Run(fmt.Sprint(size), func(t *testing.T) { testFollowReaders(t, size) })
	}
}

func testFollowReaders(t *testing.T, size int) {
	l := newLive(t, size)
	l.commit(bankSchema...)
	store := l.store()
	path := filepath.Join(t.TempDir(), "copy.db")
	f := follow(t, store, path, restore.FollowOptions{})
	f.at(tip(t, store))

	reader := newReading(t, path)
	for deadline, i := time.Now().Add(3*time.Second), 0; time.Now().Before(deadline); i++ {
		l.exec(transfer(i)...)
	}
	if err := vfs.Flush(t.Context(), l.path); err != nil {
		t.Fatal(err)
	}
	f.at(tip(t, store))
	reader.stop()
	f.stop()
	requireCopy(t, store, path, tip(t, store))
	t.Logf("%s, %d TXIDs, %d reports", reader, tip(t, store), len(f.seen))
	if n := reader.versions.Load(); n < 10 {
		t.Errorf("only %d reads saw a new version", n)
	}
}

// copyReader reads a copy as an application does.
type copyReader struct {
	path string
	keep bool // the connection, and with it what SQLite has in its cache
	conn *sqlite3.Conn
	last int
}

func (r *copyReader) close() {
	if r.conn != nil {
		r.conn.Close()
		r.conn = nil
	}
}

// read checks everything in one transaction, and reports whether it saw a new version.
func (r *copyReader) read() (fresh bool, err error) {
	if r.conn == nil {
		if r.conn, err = sqlite3.Open("file:" + r.path + "?mode=ro"); err != nil {
			return false, err
		}
		if err := r.conn.BusyTimeout(20 * time.Second); err != nil {
			return false, err
		}
	}
	if !r.keep {
		defer r.close()
	}
	if err := r.conn.Exec("BEGIN"); err != nil {
		return false, err
	}
	defer r.conn.Exec("ROLLBACK")
	text, err := first(r.conn, "SELECT n FROM version")
	if err != nil {
		return false, err
	}
	var n int
	fmt.Sscan(text, &n)
	for sql, want := range map[string]string{
		"SELECT sum(amount) FROM account": "10000",
		"PRAGMA integrity_check":          "ok",
		"SELECT n FROM version":           text,
	} {
		got, err := first(r.conn, sql)
		if err == nil && got != want {
			err = errors.New(got)
		}
		if err != nil {
			return false, fmt.Errorf("at version %d: %s: %w", n, sql, err)
		}
	}
	if n < r.last {
		return false, fmt.Errorf("version %d came after %d", n, r.last)
	}
	fresh, r.last = n > r.last, n
	return fresh, nil
}

// Of a quiet replica, the next file is asked for, and nothing is written.
func TestFollowQuiet(t *testing.T) {
	l := newLive(t, 4096)
	l.commit(schema, manyRows(10))
	store := l.store()
	path := filepath.Join(t.TempDir(), "copy.db")
	f := follow(t, store, path, restore.FollowOptions{})
	f.at(2)
	time.Sleep(50 * time.Millisecond)
	opens, lists := store.opens.Load(), store.lists.Load()
	for store.opens.Load() < opens+29 {
		time.Sleep(time.Millisecond)
	}
	if n := store.lists.Load(); n > lists+2 {
		t.Errorf("%d listings for nothing", n-lists)
	}
	f.stop()
	if len(f.reports) > 0 {
		t.Errorf("it reports %+v", <-f.reports)
	}
	for _, suffix := range []string{"-walvfs", "-journal", "-walvfs-apply", "-wal"} {
		if _, err := os.Lstat(path + suffix); err == nil {
			t.Errorf("there is a %s", suffix)
		}
	}

	// The copy is gone on with, not downloaded.
	l.commit(manyRows(1))
	f = follow(t, store, path, restore.FollowOptions{})
	if r := f.until("the copy", func(restore.Followed) bool { return true }); !r.Resumed || r.TXID != 2 {
		t.Errorf("it begins with %+v", r)
	}
	if r := f.at(3); r.Files != 1 {
		t.Errorf("it went on with %d files", r.Files)
	}
	f.stop()
	requireCopy(t, store, path, 3)
}

// A connection that has everything in its cache sees a change that changes nothing
// else, which the counter in page 1 alone tells.
func TestFollowCachedReader(t *testing.T) {
	l := newLive(t, 4096)
	l.commit("CREATE TABLE n (i INT)", "INSERT INTO n VALUES (0)")
	store := l.store()
	path := filepath.Join(t.TempDir(), "copy.db")
	f := follow(t, store, path, restore.FollowOptions{})
	f.at(2)
	conn, err := sqlite3.Open("file:" + path)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.BusyTimeout(10 * time.Second); err != nil {
		t.Fatal(err)
	}
	for i := range 10 {
		if got, err := first(conn, "SELECT i FROM n"); err != nil || got != fmt.Sprint(i) {
			t.Fatalf("%s at %d: %v", got, i, err)
		}
		l.commit("UPDATE n SET i = i + 1")
		f.at(tip(t, store))
	}
	f.stop()
}

// A reader that stays keeps the copy as it is, and others from nothing.
func TestFollowWaitsForReader(t *testing.T) {
	l := newLive(t, 4096)
	l.commit(schema, manyRows(10))
	store := l.store()
	path := filepath.Join(t.TempDir(), "copy.db")
	f := follow(t, store, path, restore.FollowOptions{})
	f.at(2)
	conn, err := sqlite3.Open("file:" + path)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.Exec("BEGIN; SELECT * FROM t"); err != nil {
		t.Fatal(err)
	}
	l.commit("DELETE FROM t")
	f.until("waiting", func(r restore.Followed) bool { return r.Waiting && r.TXID == 2 && r.Tip == 3 })
	other := &copyReader{path: path}
	other.conn, err = sqlite3.Open("file:" + path)
	if err != nil {
		t.Fatal(err)
	}
	defer other.close()
	other.conn.BusyTimeout(10 * time.Second)
	for range 5 {
		if n, err := first(other.conn, "SELECT count(*) FROM t"); err != nil || n != "10" {
			t.Fatalf("%s rows, %v", n, err)
		}
	}
	if n, err := first(conn, "SELECT count(*) FROM t"); err != nil || n != "10" {
		t.Fatalf("%s rows, %v", n, err)
	}
	if err := conn.Exec("COMMIT"); err != nil {
		t.Fatal(err)
	}
	f.at(3)
	if n, err := first(conn, "SELECT count(*) FROM t"); err != nil || n != "0" {
		t.Fatalf("%s rows, %v", n, err)
	}
	f.stop()
}
