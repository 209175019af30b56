package vfs_test

import (
	"os"
	"testing"

	"github.com/walvfs/walvfs/format"
	"github.com/walvfs/walvfs/vfs"
)

// At rest, replication has no connection. Its files alone keep the WAL in existence,
// whichever program closes the database, until the replica has every commit.
func TestRestKeepsWAL(t *testing.T) {
	r := newRun(t)
	if vfs.HasConn(r.Path) {
		t.Error("replication has a connection at rest")
	}
	r.Conn.Close()
	r.Conn = open(t, uri(r.Path, r.Store)) // with the default close_timeout
	release := hold(t, r.Store, r.Conn)
	index, err := os.Stat(r.Path + "-shm")
	if err != nil {
		t.Fatal(err)
	}
	closed := make(chan struct{})
	go func() {
		defer close(closed)
		r.Conn.Close()
	}()
	eventually(t, "the application has closed", func() bool { return vfs.Refs(r.Path) == 0 })
	before := commits(t, r.Path)
	other := open(t, "file:"+r.Path)
	exec(t, other, "INSERT INTO t VALUES ('of others')")
	if n := commits(t, r.Path) - before; n != 1 {
		t.Errorf("another connection made the WAL index anew: it counts %d commits", n)
	}
	other.Close()
	if wal, err := os.Stat(r.Path + "-wal"); err != nil || wal.Size() == 0 {
		t.Errorf("another connection's close took the WAL away: %v", err)
	}
	if now, err := os.Stat(r.Path + "-shm"); err != nil || now.Size() == 0 || !os.SameFile(index, now) {
		t.Errorf("another connection's close took the WAL index away: %v", err)
	}
	release()
	<-closed
	for _, suffix := range []string{"-wal", "-shm"} {
		if _, err := os.Stat(r.Path + suffix); !os.IsNotExist(err) {
			t.Errorf("%s is left: %v", suffix, err)
		}
	}
	requireEqual(t, r.Store, r.Path)
	requireIntact(t, r.Store)
}

// commits returns the number of commits in the WAL index of a database.
func commits(t *testing.T, path string) uint32 {
	t.Helper()
	b, err := os.ReadFile(path + "-shm")
	if err != nil {
		t.Fatal(err)
	}
	index, err := format.ParseWALIndex(b[:format.WALIndexHeaderSize])
	if err != nil {
		t.Fatal(err)
	}
	return index.Change
}
