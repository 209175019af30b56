// Package dbtest holds helpers for tests of replicated databases: replicas in memory that
// fail on request, and comparisons of a replica with its database, page for page.
package dbtest

import (
	"errors"
	"io"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/ncruces/go-sqlite3"
)

// Open opens a database and closes it when the test ends.
func Open(t *testing.T, uri string) *sqlite3.Conn {
	t.Helper()
	conn, err := sqlite3.Open(uri)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

// Exec runs statements.
func Exec(t *testing.T, conn *sqlite3.Conn, sql ...string) {
	t.Helper()
	for _, q := range sql {
		if err := conn.Exec(q); err != nil {
			t.Fatalf("%s: %v", q, err)
		}
	}
}

// Query returns the first column of the first row as text.
func Query(t *testing.T, conn *sqlite3.Conn, sql string) string {
	t.Helper()
	stmt, _, err := conn.Prepare(sql)
	if err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	defer stmt.Close()
	text := ""
	if stmt.Step() {
		text = stmt.ColumnText(0)
	}
	if err := stmt.Err(); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	return text
}

// ReadFile returns the content of a file.
func ReadFile(t *testing.T, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// Checkpoint checkpoints the whole WAL, however often a cut stops it.
func Checkpoint(t *testing.T, conn *sqlite3.Conn, mode sqlite3.CheckpointMode) {
	t.Helper()
	Eventually(t, "everything is checkpointed", func() bool {
		frames, done, err := conn.WALCheckpoint("main", mode)
		if err != nil && !errors.Is(err, sqlite3.BUSY) {
			t.Fatal(err)
		}
		return err == nil && frames == done
	})
}

// Eventually waits for a condition without waking the shipper.
func Eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not so: %s", what)
		}
	}
}

// Spilling makes the page cache so small that a transaction outgrows it.
const Spilling = "PRAGMA cache_size=10; PRAGMA cache_spill=1"

// ManyRows fills table t with 500 rows on some 70 pages.
const ManyRows = "INSERT INTO t SELECT randomblob(500) FROM generate_series(1, 500)"

// SyncWriter makes a writer safe for concurrent use.
type SyncWriter struct {
	W  io.Writer
	mu sync.Mutex // one write at a time
}

// Write implements [io.Writer].
func (s *SyncWriter) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.W.Write(p)
}
