package vfs_test

import (
	osexec "os/exec"
	"path/filepath"
	"sync/atomic"
	"testing"
)

// A program that constantly starts other programs can close a database and open it again:
// between fork and exec, a child holds the lock for a moment, and must not count as
// another process.
func TestReopenBesideForks(t *testing.T) {
	truth, err := osexec.LookPath("true")
	if err != nil {
		t.Fatal(err)
	}
	store := newReplica(t)
	path := filepath.Join(t.TempDir(), "app.db")
	var stop atomic.Bool
	done := make(chan struct{})
	go func() {
		defer close(done)
		for !stop.Load() {
			osexec.Command(truth).Run()
		}
	}()
	defer func() { <-done }()
	defer stop.Store(true)
	for range 100 {
		conn := open(t, uri(path, store))
		exec(t, conn, "CREATE TABLE IF NOT EXISTS t (x)")
		if err := conn.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
