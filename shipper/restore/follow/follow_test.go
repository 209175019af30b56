package follow_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/ncruces/go-sqlite3"

	"github.com/walvfs/walvfs/shipper/restore/follow"
)

// Readers of the copy see one commit after another, and never a state in between, while
// the database changes, grows and shrinks.
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
	f := runFollow(t, store, path, follow.Options{})
	f.At(tip(t, store))

	reader := newReading(t, path)
	for deadline, i := time.Now().Add(3*time.Second), 0; time.Now().Before(deadline); i++ {
		l.exec(transfer(i)...)
	}
	if err := flush(t.Context(), l.path); err != nil {
		t.Fatal(err)
	}
	f.At(tip(t, store))
	reader.Stop()
	f.Stop()
	requireCopy(t, store, path, tip(t, store))
	t.Logf("%s, %d TXIDs, %d reports", reader, tip(t, store), len(f.Seen))
	if n := reader.Versions.Load(); n < 10 {
		t.Errorf("only %d reads saw a new version", n)
	}
}

// For an idle replica, the follower requests the next file, and writes nothing.
func TestFollowQuiet(t *testing.T) {
	l := newLive(t, 4096)
	l.commit(schema, manyRows(10))
	store := l.store()
	path := filepath.Join(t.TempDir(), "copy.db")
	f := runFollow(t, store, path, follow.Options{})
	f.At(2)
	polls := func(n int64) {
		t.Helper()
		opens := store.opens.Load()
		eventually(t, "it polls", func() bool { return store.opens.Load() >= opens+n })
	}
	polls(2) // the first poll lists
	lists := store.lists.Load()
	polls(29)
	if n := store.lists.Load(); n > lists+2 {
		t.Errorf("%d listings for nothing", n-lists)
	}
	f.Stop()
	if len(f.Reports) > 0 {
		t.Errorf("it reports %+v", <-f.Reports)
	}
	for _, suffix := range []string{"-walvfs", "-journal", "-walvfs-apply", "-wal"} {
		if _, err := os.Lstat(path + suffix); err == nil {
			t.Errorf("there is a %s", suffix)
		}
	}

	// The follower continues the copy without downloading it again.
	l.commit(manyRows(1))
	f = runFollow(t, store, path, follow.Options{})
	if r := f.Until("the copy", func(follow.Status) bool { return true }); !r.Resumed || r.TXID != 2 {
		t.Errorf("it begins with %+v", r)
	}
	if r := f.At(3); r.Files != 1 {
		t.Errorf("it went on with %d files", r.Files)
	}
	f.Stop()
	requireCopy(t, store, path, 3)
}

// A connection with everything in its cache sees a change that only the counter in page 1
// shows.
func TestFollowCachedReader(t *testing.T) {
	l := newLive(t, 4096)
	l.commit("CREATE TABLE n (i INT)", "INSERT INTO n VALUES (0)")
	store := l.store()
	path := filepath.Join(t.TempDir(), "copy.db")
	f := runFollow(t, store, path, follow.Options{})
	f.At(2)
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
		f.At(tip(t, store))
	}
	f.Stop()
}

// A long reader stops the copy from advancing, but does not block other readers.
func TestFollowWaitsForReader(t *testing.T) {
	l := newLive(t, 4096)
	l.commit(schema, manyRows(10))
	store := l.store()
	path := filepath.Join(t.TempDir(), "copy.db")
	f := runFollow(t, store, path, follow.Options{})
	f.At(2)
	conn, err := sqlite3.Open("file:" + path)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.Exec("BEGIN; SELECT * FROM t"); err != nil {
		t.Fatal(err)
	}
	l.commit("DELETE FROM t")
	f.Until("waiting", func(r follow.Status) bool { return r.Waiting && r.TXID == 2 && r.Tip == 3 })
	other := &copyReader{Path: path}
	other.Conn, err = sqlite3.Open("file:" + path)
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	other.Conn.BusyTimeout(10 * time.Second)
	for range 5 {
		if n, err := first(other.Conn, "SELECT count(*) FROM t"); err != nil || n != "10" {
			t.Fatalf("%s rows, %v", n, err)
		}
	}
	if n, err := first(conn, "SELECT count(*) FROM t"); err != nil || n != "10" {
		t.Fatalf("%s rows, %v", n, err)
	}
	if err := conn.Exec("COMMIT"); err != nil {
		t.Fatal(err)
	}
	f.At(3)
	if n, err := first(conn, "SELECT count(*) FROM t"); err != nil || n != "0" {
		t.Fatalf("%s rows, %v", n, err)
	}
	f.Stop()
}
