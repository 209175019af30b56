package followtest

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ncruces/go-sqlite3"
)

// Schema creates the table that [ManyRows] fills.
const Schema = "CREATE TABLE t (x BLOB)"

// ManyRows fills several pages.
func ManyRows(n int) string {
	return fmt.Sprintf("INSERT INTO t (x) WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n LIMIT %d) SELECT randomblob(1500) FROM n", n)
}

// BankSchema is the database that a [CopyReader] checks.
var BankSchema = []string{
	"CREATE TABLE account (id INTEGER PRIMARY KEY, amount INT, pad BLOB); CREATE INDEX by_amount ON account (amount);" +
		"INSERT INTO account WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n LIMIT 100) SELECT i, 100, randomblob(300) FROM n",
	"CREATE TABLE version (n INT); INSERT INTO version VALUES (0)",
	Schema,
}

// Transfer is the i-th transaction of a bank.
func Transfer(i int) []string {
	sql := []string{fmt.Sprintf("BEGIN; UPDATE account SET amount = amount - 7, pad = randomblob(300) WHERE id = 1 + %d %% 100;"+
		"UPDATE account SET amount = amount + 7 WHERE id = 1 + %d %% 100; UPDATE version SET n = n + 1; COMMIT", i*31, i*17+5)}
	switch i % 40 {
	case 10:
		sql = append(sql, ManyRows(100))
	case 30:
		sql = append(sql, "DELETE FROM t", "VACUUM")
	}
	return sql
}

// CopyReader reads a copy like an application.
type CopyReader struct {
	Path string
	Keep bool // the connection, and with it SQLite's cache
	Conn *sqlite3.Conn
	last int
}

// Close closes its connection.
func (r *CopyReader) Close() {
	if r.Conn != nil {
		r.Conn.Close()
		r.Conn = nil
	}
}

// Read checks everything in one transaction, and reports whether it saw a new version.
func (r *CopyReader) Read() (fresh bool, err error) {
	if r.Conn == nil {
		if r.Conn, err = sqlite3.Open("file:" + r.Path + "?mode=ro"); err != nil {
			return false, err
		}
		if err := r.Conn.BusyTimeout(20 * time.Second); err != nil {
			return false, err
		}
	}
	if !r.Keep {
		defer r.Close()
	}
	if err := r.Conn.Exec("BEGIN"); err != nil {
		return false, err
	}
	defer r.Conn.Exec("ROLLBACK")
	text, err := First(r.Conn, "SELECT n FROM version")
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
		got, err := First(r.Conn, sql)
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

// Reading continuously reads a copy and checks it.
type Reading struct {
	t               *testing.T
	done            atomic.Bool
	wg              sync.WaitGroup
	Reads, Versions atomic.Int64
}

// NewReading starts two connections that read: one that opens each time, and one that
// stays open, with its cache.
func NewReading(t *testing.T, path string) *Reading {
	r := &Reading{t: t}
	t.Cleanup(r.Stop)
	for i := range 2 {
		r.wg.Go(func() {
			c := &CopyReader{Path: path, Keep: i > 0}
			defer c.Close()
			for !r.done.Load() {
				fresh, err := c.Read()
				if err != nil {
					t.Error(err)
					return
				}
				r.Reads.Add(1)
				if fresh {
					r.Versions.Add(1)
				}
			}
		})
	}
	return r
}

// Stop stops reading.
func (r *Reading) Stop() {
	r.done.Store(true)
	r.wg.Wait()
}

// String counts the reads.
func (r *Reading) String() string {
	return fmt.Sprintf("%d reads, %d of a new version", r.Reads.Load(), r.Versions.Load())
}
