package vfs_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/walvfs/walvfs/vfs"
)

// A database is renamed while it is open, and another database gets its name: no cut
// takes a read mark in the other database's WAL index, which would stop no checkpoint.
func TestRenamedWhileOpen(t *testing.T) {
	r := newRun(t)
	moved := filepath.Join(filepath.Dir(r.Path), "moved.db")
	for _, suffix := range []string{"", "-wal", "-shm"} {
		if err := os.Rename(r.Path+suffix, moved+suffix); err != nil {
			t.Fatal(err)
		}
	}
	other := open(t, "file:"+r.Path)
	exec(t, other, "PRAGMA journal_mode=wal", "CREATE TABLE other (x)")
	tip := lastTXID(t, r.Store)

	vfs.Rest(r.Path)
	exec(t, r.Conn, "INSERT INTO t VALUES ('after the rename')")
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	err := flush(ctx, r.Path)
	if err == nil || !strings.Contains(err.Error(), "was replaced while it is open") {
		t.Errorf("got %v", err)
	}
	if got := lastTXID(t, r.Store); got != tip {
		t.Errorf("the replica went from %s to %s", tip, got)
	}

	// When it has its name back, replication continues.
	other.Close()
	for _, suffix := range []string{"", "-wal", "-shm"} {
		os.Remove(r.Path + suffix)
		if err := os.Rename(moved+suffix, r.Path+suffix); err != nil {
			t.Fatal(err)
		}
	}
	settled(t, r.Path)
	r.Conn.Close()
	requireEqual(t, r.Store, r.Path)
	requireIntact(t, r.Store)
}
