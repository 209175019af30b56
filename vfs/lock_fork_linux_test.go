package vfs_test

import (
	osexec "os/exec"
	"path/filepath"
	"sync/atomic"
	"testing"
)

// A program that starts other programs all the time closes a database and opens it again:
// a lock that a started program has for a moment, before it is itself, is not another
// process's.
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
