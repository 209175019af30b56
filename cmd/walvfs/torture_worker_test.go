package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/ncruces/go-sqlite3"

	"github.com/walvfs/walvfs/vfs"
)

// A commit is a row of the journal.
type commit struct {
	n  int
	id int64
}

// A worker writes through its own connection.
type worker struct {
	*child
	rng  *rand.Rand
	conn *sqlite3.Conn
	last commit // of this worker
	sync bool   // its commits wait for the replica
}

func (w *worker) run(until time.Time) {
	defer func() {
		if w.conn != nil {
			w.close(w.conn)
		}
	}()
	for time.Now().Before(until) {
		if w.conn == nil {
			var err error
			if w.conn, err = w.open(w.rng); err != nil {
				return
			}
			w.choose()
		}
		if err := w.step(); !w.expected(err) {
			return
		}
	}
	if w.Task == work {
		w.watch()
	}
}

// step makes one change that applications and administrators make.
func (w *worker) step() error {
	switch n := w.rng.IntN(100); {
	case n < 60:
		return w.transact()
	case n < 70:
		return w.maintain()
	case n < 80:
		w.drain()
	case n < 83:
		w.close(w.conn)
		w.conn = nil
	case n < 90:
		return w.readSlowly()
	default:
		time.Sleep(time.Duration(w.rng.IntN(30)) * time.Millisecond)
	}
	return nil
}

// transact moves money in one transaction. Some transactions are larger than the page
// cache and spill, and some are rolled back.
func (w *worker) transact() error {
	if err := w.exec(w.conn, "BEGIN IMMEDIATE"); err != nil {
		return err
	}
	if w.rng.IntN(8) == 0 {
		// Frames that no commit follows; the transaction overwrites some of them.
		w.exec(w.conn, "SAVEPOINT s; UPDATE pad SET data = randomblob(700) WHERE id % 4 = 1; ROLLBACK TO s")
	}
	c, err := w.fill()
	if err == nil && w.rng.IntN(7) > 0 {
		err = w.exec(w.conn, "COMMIT")
		if err == nil || w.unconfirmed(err) {
			w.committed(c, err == nil)
			return nil
		}
	}
	if !w.conn.GetAutocommit() {
		return errors.Join(err, w.exec(w.conn, "ROLLBACK"))
	}
	return err
}

func (w *worker) fill() (c commit, err error) {
	for range w.rng.IntN(5) { // zero times: such a commit is one frame
		from, to, sum := 1+w.rng.IntN(tortureAccounts), 1+w.rng.IntN(tortureAccounts), w.rng.IntN(100)
		if err := w.exec(w.conn, fmt.Sprintf(
			"UPDATE account SET balance = balance - %d WHERE id = %d; UPDATE account SET balance = balance + %d WHERE id = %d",
			sum, from, sum, to)); err != nil {
			return c, err
		}
	}
	sql := ""
	if w.rng.IntN(120) == 0 { // more than is kept in memory
		sql = "INSERT INTO pad(data) SELECT randomblob(20000) FROM generate_series(1, 250)"
	}
	switch w.rng.IntN(16) {
	case 0:
		sql = "INSERT INTO pad(data) SELECT randomblob(500) FROM generate_series(1, 200); UPDATE pad SET data = randomblob(300) WHERE id % 3 = 0"
	case 1:
		sql = "DELETE FROM pad WHERE id % 2 = 0"
	case 2:
		sql = "UPDATE pad SET data = randomblob(450) WHERE id % 5 = 2"
	case 3:
		sql = "DELETE FROM pad WHERE id > 300"
	}
	if sql != "" {
		if err := w.exec(w.conn, sql); err != nil {
			return c, err
		}
	}
	return w.journal()
}

// journal appends a row to the journal.
func (w *worker) journal() (c commit, err error) {
	c.id = rand.Int64()
	err = w.timed("journal", false, func() error {
		stmt, _, err := w.conn.Prepare("INSERT INTO journal SELECT coalesce(max(n), 0) + 1, ? FROM journal RETURNING n")
		if err != nil {
			return err
		}
		defer stmt.Close()
		if err := stmt.BindInt64(1, c.id); err != nil {
			return err
		}
		for stmt.Step() {
			c.n = stmt.ColumnInt(0)
		}
		return stmt.Err()
	})
	return c, err
}

func (w *worker) maintain() error {
	switch w.rng.IntN(12) {
	case 0:
		w.say("vacuum")
		return w.exec(w.conn, "VACUUM")
	case 1, 2, 3:
		return w.exec(w.conn, "PRAGMA incremental_vacuum")
	default:
		mode := []string{"PASSIVE", "FULL", "RESTART", "TRUNCATE"}[w.rng.IntN(4)]
		w.say("checkpoint")
		return w.exec(w.conn, "PRAGMA wal_checkpoint("+mode+")")
	}
}

// drain waits for the replica, but not forever.
func (w *worker) drain() {
	if w.Task != work {
		return
	}
	wait := time.Duration(20+w.rng.IntN(1500)) * time.Millisecond
	ctx, cancel := context.WithTimeout(context.Background(), wait)
	defer cancel()
	var err error
	if w.rng.IntN(2) == 0 {
		err = flush(ctx, w.Path)
	} else {
		err = vfs.WaitConn(ctx, w.conn)
	}
	if err == nil && w.last.n > 0 {
		w.say("drained %d %d", w.last.n, w.last.id)
	}
}

// readSlowly holds a read transaction, at which checkpoints stop.
func (w *worker) readSlowly() error {
	if err := w.exec(w.conn, "BEGIN; SELECT count(*) FROM journal"); err != nil {
		if !w.conn.GetAutocommit() {
			w.exec(w.conn, "ROLLBACK")
		}
		return err
	}
	time.Sleep(time.Duration(w.rng.IntN(50)) * time.Millisecond)
	return w.exec(w.conn, "COMMIT")
}
