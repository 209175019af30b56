package vfs_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ncruces/go-sqlite3"

	"github.com/walvfs/walvfs/vfs"
)

var (
	waitersTime = flag.Duration("waiters.time", 3*time.Second, "how long TestWaiters takes, about")
	waitersSeed = flag.Uint64("waiters.seed", 0, "what TestWaiters decides by; 0 for another one each time")
)

// A crowd is connections to one database that commit and wait.
type crowd struct {
	*testing.T
	uri, path string
	store     *ledger
	end       time.Time

	made        atomic.Uint32 // the newest commit
	told        atomic.Uint32 // the newest commit that a client was told to be in the replica
	times       atomic.Int64  // the number of such answers
	unconfirmed atomic.Int64
}

// Whatever connections and the store do, no connection is told that the replica has a
// commit before it has.
func TestWaiters(t *testing.T) {
	seed := *waitersSeed
	if seed == 0 {
		seed = rand.Uint64()
	}
	t.Logf("again: go test ./vfs -run TestWaiters -waiters.seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	c := &crowd{T: t, path: filepath.Join(t.TempDir(), "app.db"), store: newLedger(t, rng.Uint64()), end: time.Now().Add(*waitersTime)}
	c.uri = uri(c.path, c.store, "durability=sync", "sync_timeout=200ms", "close_timeout=20ms")
	calm := open(t, uri(c.path, c.store, "close_timeout=20ms"))
	exec(t, calm, "CREATE TABLE t (n INTEGER PRIMARY KEY, x BLOB)")
	settled(t, c.path)
	c.store.stormy.Store(true)
	var wg sync.WaitGroup
	for range 16 {
		rng := rand.New(rand.NewPCG(rng.Uint64(), 2))
		wg.Go(func() { c.work(rng) })
	}
	for range 5 {
		time.Sleep(*waitersTime / 6)
		c.restore()
	}
	wg.Wait()
	c.store.stormy.Store(false)
	exec(t, calm, "INSERT INTO t(x) VALUES (1)")
	settled(t, c.path)
	c.restore()
	requireEqual(t, c.store.memory, c.path)
	t.Logf("%d commits; %d times somebody was told of one; %d unconfirmed", c.made.Load(), c.times.Load(), c.unconfirmed.Load())
	if c.times.Load() == 0 || c.unconfirmed.Load() == 0 {
		t.Error("not everything has happened")
	}
}

// restore restores the newest TXID, and fails unless it has every commit that a client
// was told to be in the replica.
func (c *crowd) restore() {
	c.Helper()
	least := c.told.Load()
	_, conn := restored(c.T, c.store.memory, 0)
	defer conn.Close()
	if got := query(c.T, conn, "PRAGMA user_version"); atoi(got) < least {
		c.Errorf("the replica ends at commit %s, and was said to have commit %d", got, least)
	}
	if got := query(c.T, conn, "SELECT max(n) - count(*) FROM t"); got != "0" {
		c.Errorf("%s rows are missing", got)
	}
}

func atoi(s string) (n uint32) {
	fmt.Sscan(s, &n)
	return n
}

// tell notes that a client was told that the replica has a commit.
func (c *crowd) tell(how string, n uint32) {
	if held := c.store.held.Load(); held < n {
		c.Errorf("%s: whoever waits for commit %d was told so when the replica ends at commit %d", how, n, held)
	}
	c.times.Add(1)
	raise(&c.told, n)
}

func raise(a *atomic.Uint32, n uint32) {
	for old := a.Load(); old < n && !a.CompareAndSwap(old, n); old = a.Load() {
	}
}

// A client is one connection of a crowd, opened again now and then.
type client struct {
	*crowd
	rng  *rand.Rand
	conn *sqlite3.Conn
	sync bool
	last uint32 // commit of this connection
}

func (c *crowd) work(rng *rand.Rand) {
	w := &client{crowd: c, rng: rng}
	for time.Now().Before(c.end) && !c.Failed() {
		if w.conn == nil && !w.open() {
			return
		}
		w.act()
	}
	if w.conn != nil {
		w.conn.Close()
	}
}

func (w *client) open() bool {
	var err error
	if w.conn, err = sqlite3.Open(w.uri); err == nil {
		err = w.conn.BusyTimeout(20 * time.Second)
	}
	if err != nil {
		w.Error(err)
		return false
	}
	w.sync, w.last = true, 0
	return true
}

func (w *client) act() {
	ctx, cancel := context.WithTimeout(w.Context(), time.Duration(w.rng.IntN(100))*time.Millisecond)
	defer cancel()
	switch n := w.rng.IntN(20); {
	case n < 9:
		w.commit()
	case n < 12:
		if vfs.WaitConn(ctx, w.conn) == nil && w.last > 0 {
			w.tell("Wait", w.last)
		}
	case n < 13:
		if made := w.made.Load(); flush(ctx, w.path) == nil {
			w.tell("Flush", made)
		}
	case n < 14:
		if made := w.made.Load(); vfs.Shutdown(ctx) == nil {
			w.tell("Shutdown", made)
		}
	case n < 16:
		w.sync = !w.sync
		w.exec("PRAGMA walvfs_durability = " + map[bool]string{true: "sync", false: "async"}[w.sync])
	case n < 18:
		mode := []sqlite3.CheckpointMode{sqlite3.CHECKPOINT_PASSIVE, sqlite3.CHECKPOINT_FULL, sqlite3.CHECKPOINT_RESTART, sqlite3.CHECKPOINT_TRUNCATE}[w.rng.IntN(4)]
		if _, _, err := w.conn.WALCheckpoint("main", mode); err != nil && !errors.Is(err, sqlite3.BUSY) {
			w.Errorf("checkpoint: %v", err)
		}
	case n < 19:
		time.Sleep(time.Duration(w.rng.IntN(20)) * time.Millisecond)
	default:
		if err := w.conn.Close(); err != nil {
			w.Errorf("close: %v", err)
		}
		w.conn = nil
	}
}

func (w *client) exec(sql string) bool {
	err := w.conn.Exec(sql)
	if err != nil {
		w.Errorf("%s: %v", sql, err)
	}
	return err == nil
}

// commit writes the next number into the database header, and perhaps a row.
func (w *client) commit() {
	if !w.exec("BEGIN IMMEDIATE") {
		return
	}
	n := w.next()
	sql := fmt.Sprintf("PRAGMA user_version = %d", n) // this may be the whole transaction: one frame
	if w.rng.IntN(2) == 0 {
		sql += fmt.Sprintf("; INSERT INTO t(x) VALUES (randomblob(%d))", w.rng.IntN(3000))
	}
	if !w.exec(sql) {
		return
	}
	if w.rng.IntN(8) == 0 {
		w.exec("ROLLBACK")
		return
	}
	raise(&w.made, n-1) // the commits before it have succeeded
	err := w.conn.Exec("COMMIT")
	if unconfirmed := errors.Is(err, vfs.ErrUnconfirmed); unconfirmed && w.sync {
		w.unconfirmed.Add(1)
	} else if err != nil {
		w.Errorf("COMMIT: %v", err)
		return
	}
	if w.last = n; err == nil && w.sync {
		w.tell("COMMIT", n)
	}
}

// next reads the number of the next commit from the header. No other connection writes
// the header meanwhile.
func (w *client) next() uint32 {
	stmt, _, err := w.conn.Prepare("PRAGMA user_version")
	if err != nil {
		w.Error(err)
		return 0
	}
	defer stmt.Close()
	stmt.Step()
	return uint32(stmt.ColumnInt64(0)) + 1
}
