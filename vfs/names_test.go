package vfs_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// A program that lists the directory of a database, and then calls Lstat for each file,
// finds all files except those that SQLite itself removes. Otherwise backup programs
// fail.
func TestNoNameVanishes(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "app.db")
	store := newReplica(t)
	stop, listed := make(chan struct{}), make(chan int)
	go func() {
		n := 0
		for ; ; n++ {
			select {
			case <-stop:
				listed <- n
				return
			default:
				lookAtNames(t, dir)
			}
		}
	}()
	for range 100 {
		conn := open(t, uri(path, store))
		exec(t, conn, "CREATE TABLE IF NOT EXISTS t (x)", "INSERT INTO t VALUES (randomblob(2000))")
		conn.Close()
	}
	close(stop)
	t.Logf("listed %d times", <-listed)
	requireEqual(t, store, path)
}

// lookAtNames fails if a listed file has vanished, or if the directory has an unknown
// file.
func lookAtNames(t *testing.T, dir string) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Error(err)
	}
	for _, e := range entries {
		suffix := strings.TrimPrefix(e.Name(), "app.db")
		_, err := os.Lstat(filepath.Join(dir, e.Name()))
		switch {
		case slices.Contains([]string{"-wal", "-shm", "-journal"}, suffix):
		case suffix != "" && suffix != "-walvfs":
			t.Errorf("%s is beside the database", e.Name())
		case errors.Is(err, fs.ErrNotExist):
			t.Errorf("%s has vanished", e.Name())
		}
	}
}
