package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"strings"
	"sync"
	"time"

	"github.com/ncruces/go-sqlite3"

	"github.com/walvfs/walvfs/shipper"
	"github.com/walvfs/walvfs/vfs"
)

// orderVar holds the order of a process that this test started from its own binary.
const orderVar = "WALVFS_TEST_TORTURE"

// An order is the task of a process.
type order struct {
	Task       task
	Path       string // of the database
	URI        string
	Seed       uint64
	Conns      int           // connections that write concurrently
	Life       time.Duration // after which the process ends by itself
	Slow       time.Duration // a statement that takes longer fails the test
	PageSize   int           // of a new database
	AutoVacuum int           // of a new database
	MayFail    bool          // opening needs the store
	Quiet      bool          // settle without a commit
	Stay       bool          // keep the database open
	Sync       bool          // commits wait for the replica, except on some connections
	Levels     bool          // a large database, with files of higher levels being made all the time

	CloseTimeout time.Duration
	Script       []string
}

type task string

const (
	work   task = "work"   // open, write, close, open ...
	settle task = "settle" // one commit, and wait for the replica
	plain  task = "plain"  // write without the replicating VFS
	script task = "script" // run the statements of the order
)

// A bank moves money between accounts, and appends a row to a journal in each
// transaction. The row's ID is random: two histories never share an ID.
const (
	tortureAccounts = 50
	tortureMoney    = tortureAccounts * 1000
	tortureSchema   = `BEGIN IMMEDIATE;
		CREATE TABLE IF NOT EXISTS account (id INTEGER PRIMARY KEY, balance INTEGER);
		CREATE TABLE IF NOT EXISTS journal (n INTEGER PRIMARY KEY, id INTEGER);
		CREATE TABLE IF NOT EXISTS pad (id INTEGER PRIMARY KEY, data BLOB);
		INSERT OR IGNORE INTO account SELECT value, 1000 FROM generate_series(1, 50);
		COMMIT`
)

// levelsVFS is a VFS that makes files of higher levels all the time.
const levelsVFS = "replicated-levels"

// fewPads is how many large rows a database has so that a snapshot of it is pre-copied: 5
// MB.
const fewPads = 250

// A child is the tortured process. It reports events on its standard output, one line in
// one write, after each event:
//
//	opening, open, checkpoint, vacuum, closing, closed   its current step
//	commit N ID                                          COMMIT returned
//	drained N ID                                         and the commit is confirmed in the replica
//	settled                                              the replica has everything
//	halted WHY                                           replication stopped
//	bad WHAT                                             a failure of the test
type child struct {
	order
	halted sync.Once
}

// runChild carries out the order of this process and exits. Without an order, it returns.
func runChild() {
	text := os.Getenv(orderVar)
	if text == "" {
		return
	}
	c := &child{}
	if err := json.Unmarshal([]byte(text), &c.order); err != nil {
		panic(err)
	}
	time.AfterFunc(c.Life+90*time.Second, func() {
		stacks := make([]byte, 1<<20)
		os.Stderr.Write(stacks[:runtime.Stack(stacks, true)])
		c.bad("it does not end")
		os.Exit(1)
	})
	rng := rand.New(rand.NewPCG(c.Seed, 0))
	if c.Levels {
		vfs.Register(levelsVFS, vfs.Options{Policy: shipper.Policy{
			Levels:    []time.Duration{time.Duration(50+rng.IntN(300)) * time.Millisecond, time.Second},
			Snapshots: time.Duration(200+rng.IntN(1500)) * time.Millisecond,
			Retention: vfs.Off,
		}})
	}
	switch c.Task {
	case settle:
		c.settle(rng)
	case script:
		c.script()
	default:
		c.work(rng)
	}
	os.Exit(0)
}

func (c *child) say(format string, args ...any) {
	line := strings.ReplaceAll(fmt.Sprintf(format, args...), "\n", " / ")
	os.Stdout.WriteString(line + "\n")
}

func (c *child) bad(format string, args ...any) { c.say("bad "+format, args...) }

// open opens a connection, which waits only for other connections.
func (c *child) open(rng *rand.Rand) (*sqlite3.Conn, error) {
	var conn *sqlite3.Conn
	err := c.timed("open", c.MayFail, func() (err error) {
		conn, err = sqlite3.Open(c.URI)
		return err
	})
	if err != nil || rng == nil {
		return conn, err
	}
	return conn, c.exec(conn, fmt.Sprintf("PRAGMA cache_size=%d; PRAGMA wal_autocheckpoint=%d; PRAGMA synchronous=%d",
		5+rng.IntN(40), 1+rng.IntN(80), 1+rng.IntN(2)))
}

func (c *child) exec(conn *sqlite3.Conn, sql string) error {
	return c.timed(sql, false, func() error { return conn.Exec(sql) })
}

// timed runs a statement, which may find the database locked, but must not fail
// otherwise.
func (c *child) timed(what string, mayFail bool, do func() error) error {
	start := time.Now()
	err := do()
	if took := time.Since(start); took > c.Slow && !mayFail {
		c.bad("%s took %s (%v)", what, took, err)
	}
	if !c.expected(err) && !mayFail {
		c.bad("%s: %v%s", what, err, causes(err))
	}
	return err
}

// expected reports whether a statement may end with this error.
func (c *child) expected(err error) bool {
	return err == nil || errors.Is(err, sqlite3.BUSY) || errors.Is(err, sqlite3.LOCKED) || c.unconfirmed(err)
}

func causes(err error) (text string) {
	for err = errors.Unwrap(err); err != nil; err = errors.Unwrap(err) {
		text += " / " + err.Error()
	}
	return text
}

// work opens the database, writes for a while and closes it, until the process is killed
// or its life ends.
func (c *child) work(rng *rand.Rand) {
	for end := time.Now().Add(c.Life); time.Now().Before(end); {
		until := time.Now().Add(time.Duration(150+rng.IntN(1500)) * time.Millisecond)
		if until.After(end) || c.Stay {
			until = end
		}
		c.session(rng, until)
	}
}

func (c *child) session(rng *rand.Rand, until time.Time) {
	conn, err := c.openFirst(rng)
	if err != nil {
		time.Sleep(20 * time.Millisecond)
		return
	}
	// Without this connection, any other may close last, while others open.
	early := rng.IntN(3) == 0
	if early {
		c.close(conn)
	}
	var wg sync.WaitGroup
	for range c.Conns {
		w := &worker{child: c, rng: rand.New(rand.NewPCG(rng.Uint64(), 1))}
		wg.Go(func() { w.run(until) })
	}
	wg.Wait()
	if !early {
		c.close(conn)
	}
}

// openFirst opens the database and creates its schema.
func (c *child) openFirst(rng *rand.Rand) (*sqlite3.Conn, error) {
	c.say("opening")
	conn, err := c.open(rng)
	if err != nil {
		return nil, err
	}
	c.say("open")
	err = c.exec(conn, fmt.Sprintf("PRAGMA page_size=%d; PRAGMA auto_vacuum=%d", c.PageSize, c.AutoVacuum))
	if err == nil && c.Task != plain {
		err = c.exec(conn, tortureSchema)
	}
	if c.unconfirmed(err) {
		// The schema exists, unless the unconfirmed commit was the one before it.
		err = c.exec(conn, tortureSchema)
	}
	if c.unconfirmed(err) {
		err = nil
	}
	if c.Levels && err == nil {
		c.exec(conn, fmt.Sprintf("INSERT INTO pad(data) SELECT randomblob(20000) FROM generate_series(1, %d) WHERE (SELECT count(*) FROM pad) < %[1]d", fewPads))
	}
	if err != nil {
		conn.Close()
	}
	return conn, err
}

func (c *child) close(conn *sqlite3.Conn) {
	c.say("closing")
	start := time.Now()
	if err := conn.Close(); err != nil {
		c.bad("close: %v", err)
	}
	if took := time.Since(start); took > c.CloseTimeout+c.Slow {
		c.bad("close took %s", took)
	}
	c.say("closed")
}

// watch reports whether replication has halted, and prints why.
func (c *child) watch() (halted bool) {
	db, err := vfs.Lookup(c.Path)
	if err != nil {
		return false
	}
	st := db.Status()
	if st.State != shipper.Halted {
		return false
	}
	c.halted.Do(func() { c.say("halted %v", st.Err) })
	return true
}

// settle commits a row, unless it is quiet, and waits until the replica has everything.
func (c *child) settle(rng *rand.Rand) {
	conn, err := c.openFirst(rng)
	if err != nil {
		c.bad("it does not open: %v", err)
		return
	}
	defer c.close(conn)
	w := &worker{child: c, rng: rng, conn: conn}
	for tries := 0; w.last.n == 0 && !c.Quiet; tries++ {
		if err := w.transact(); !c.expected(err) || tries > 100 {
			return
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := flush(ctx, c.Path); err != nil {
		if !c.watch() {
			c.bad("the replica does not catch up: %v", err)
		}
		return
	}
	if !c.Quiet {
		c.say("drained %d %d", w.last.n, w.last.id)
	}
	c.say("settled")
}
