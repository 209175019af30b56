package vfs_test

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ncruces/go-sqlite3"

	"github.com/walvfs/walvfs/format"
	"github.com/walvfs/walvfs/shipper"
	"github.com/walvfs/walvfs/shipper/storage"
	"github.com/walvfs/walvfs/shipper/storage/storagetest"
	"github.com/walvfs/walvfs/vfs"
)

// called is the application's code that replication calls: a logger and a listener that
// pass each message and event to do.
type called struct {
	mu    sync.Mutex
	said  []string     // messages and events
	calls atomic.Int32 // under way
	do    func(what string)
	name  string // of the VFS that calls them
	store *storagetest.Memory
	path  string
}

func newCalled(t *testing.T, do func(what string)) *called {
	c := &called{do: do, name: "called-" + strings.ToLower(t.Name()), store: newReplica(t), path: filepath.Join(t.TempDir(), "app.db")}
	c.name = strings.NewReplacer("/", "-", "_", "-").Replace(c.name)
	vfs.Register(c.name, vfs.Options{Logger: slog.New(c), Events: func(_ string, e shipper.Event) { c.call(eventName(e)) }})
	return c
}

func eventName(e shipper.Event) string {
	switch e.(type) {
	case shipper.StateChanged:
		return "event: state changed"
	case shipper.Encoded:
		return "event: encoded"
	case shipper.Uploaded:
		return "event: uploaded"
	case shipper.Failed:
		return "event: failed"
	case shipper.Deleted:
		return "event: deleted"
	case shipper.Resynced:
		return "event: resynced"
	case shipper.Confirmed:
		return "event: confirmed"
	}
	return "event"
}

func (c *called) call(what string) {
	c.mu.Lock()
	c.said = append(c.said, what)
	c.mu.Unlock()
	c.calls.Add(1)
	defer c.calls.Add(-1)
	c.do(what)
}

// closed waits until no connection has the database open.
func (c *called) closed(t *testing.T) {
	t.Helper()
	eventually(t, "the database is closed", func() bool {
		_, open := statusOf(c.path)
		return !open && c.calls.Load() == 0
	})
}

func (c *called) Enabled(context.Context, slog.Level) bool { return true }
func (c *called) WithAttrs([]slog.Attr) slog.Handler       { return c }
func (c *called) WithGroup(string) slog.Handler            { return c }
func (c *called) Handle(_ context.Context, r slog.Record) error {
	c.call("log: " + r.Message)
	return nil
}

func (c *called) requireSaid(t *testing.T, part string) {
	t.Helper()
	eventually(t, part, func() bool { return c.count(part) > 0 })
}

func (c *called) count(part string) (n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, s := range c.said {
		if strings.Contains(s, part) {
			n++
		}
	}
	return n
}

func (c *called) uri(params ...string) string {
	return strings.Replace(uri(c.path, c.store, params...), "vfs=replicated&", "vfs="+c.name+"&", 1)
}

// open opens the database, once no listener has a connection with other parameters open.
func (c *called) open(t *testing.T, params ...string) (conn *sqlite3.Conn) {
	t.Helper()
	eventually(t, "the database is opened", func() (ok bool) {
		var err error
		conn, err = sqlite3.Open(c.uri(params...))
		return err == nil
	})
	t.Cleanup(func() { conn.Close() })
	return conn
}

// live takes a database through every state that replication logs or emits.
func (c *called) live(t *testing.T) {
	conn := c.open(t, "close_timeout=1ms", "_pragma=busy_timeout(10000)") // listeners also write
	exec(t, conn, "CREATE TABLE t (x)", "CREATE TABLE log (x)", manyRows, "PRAGMA walvfs_durability=sync", "INSERT INTO t VALUES (1)", "PRAGMA walvfs_durability=async", "PRAGMA synchronous=off")
	c.requireSaid(t, "event: confirmed")
	c.requireSaid(t, "synchronous=off")
	down(c.store)
	exec(t, conn, "INSERT INTO t VALUES (2)")
	c.requireSaid(t, "replication failed")
	conn.Close()
	c.requireSaid(t, "closed before")
	c.closed(t)
	c.store.SetBefore(nil)
	if err := os.WriteFile(c.path+"-walvfs", []byte("what nobody can read"), 0o600); err != nil {
		t.Fatal(err)
	}
	fullDisks.Store(c.path, true)
	defer fullDisks.Delete(c.path)
	conn = c.open(t, "close_timeout=1ms", "diverged=overwrite", "_pragma=busy_timeout(10000)")
	settled(t, c.path)
	c.requireSaid(t, "unreadable state file")
	c.requireSaid(t, "writing the state file failed")
	c.requireSaid(t, "event: resynced")
	c.requireSaid(t, "event: uploaded")
	fullDisks.Delete(c.path)
	var tip format.TXID
	eventually(t, "another writer has the next TXID", func() bool { // a listener's write may take the TXID
		tip = settled(t, c.path)
		key := c.store.Layout().Key(format.LevelRaw, tip+1, tip+1)
		err := c.store.Create(t.Context(), key, strings.NewReader("another writer's"), storage.Attrs{})
		return err == nil
	})
	for key := tip + 2; key < tip+5; key++ {
		put(t, c.store, c.store.Layout().Key(format.LevelRaw, key, key), []byte("another writer's"))
	}
	exec(t, conn, "INSERT INTO t VALUES (3)")
	c.requireSaid(t, "halted")
	conn.Close()
	c.closed(t)
}

// Replication calls no code of the application while it holds a lock.
func TestListenersAreCalledWithoutLocks(t *testing.T) {
	var c *called
	c = newCalled(t, func(what string) {
		for _, lock := range vfs.HeldLocks(c.path, 30*time.Second) {
			t.Errorf("%s: %s is held", what, lock)
		}
	})
	c.live(t)
	notInWALMode(t, c)
}

// A logger and a listener may open the very database of a message or event, and write to
// it: at most a few times for each, because a write causes more of them.
func TestListenersWriteToTheDatabase(t *testing.T) {
	var c *called
	c = newCalled(t, func(what string) {
		if c.calls.Load() == 1 && c.count(what) < 10 { // otherwise another call may have caused it
			done := make(chan error, 1)
			go func() { done <- writeLog(c, what) }()
			select {
			case err := <-done:
				if err != nil && !errors.Is(err, sqlite3.BUSY) && !errors.Is(err, sqlite3.ERROR) && !errors.Is(err, sqlite3.CANTOPEN) {
					t.Errorf("%s: %v", what, err)
				}
			case <-time.After(15 * time.Second):
				t.Errorf("%s: the database cannot be opened or written to", what)
			}
		}
	})
	c.live(t)
	notInWALMode(t, c)
}

func writeLog(c *called, what string) error {
	conn, err := sqlite3.Open(c.uri("close_timeout=1ms", "_pragma=busy_timeout(100)"))
	if err != nil {
		return err
	}
	defer conn.Close()
	return conn.Exec("INSERT INTO log VALUES ('" + strings.ReplaceAll(what, "'", "") + "')")
}

// notInWALMode makes replication log a failure and a resync of a database that another
// program keeps out of WAL mode.
func notInWALMode(t *testing.T, c *called) {
	c.path = filepath.Join(t.TempDir(), "other.db")
	c.store = newReplica(t)
	conn := open(t, c.uri())
	exec(t, conn, "CREATE TABLE t (x)", "CREATE TABLE log (x)")
	settled(t, c.path)
	conn.Close()
	c.closed(t)
	plain := open(t, "file:"+c.path)
	exec(t, plain, "PRAGMA journal_mode=delete", "INSERT INTO t VALUES (1)", "BEGIN", "SELECT * FROM t")
	c.mu.Lock()
	c.said = nil
	c.mu.Unlock()
	conn = c.open(t, "close_timeout=1ms")
	c.requireSaid(t, "event: failed")
	c.requireSaid(t, "event: resynced")
	exec(t, plain, "COMMIT")
	settled(t, c.path)
	conn.Close()
	c.closed(t)
}
