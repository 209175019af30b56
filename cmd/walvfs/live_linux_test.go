package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/ncruces/go-sqlite3"
)

// Files that a drill run by root leaves in the directory of a live database belong to the
// database's owner; otherwise its application could not open it.
func TestCopyLiveLeavesFilesToTheOwner(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can create files of another user")
	}
	path := filepath.Join(t.TempDir(), "app.db")
	conn, err := sqlite3.Open("file:" + path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := conn.FileControl("main", sqlite3.FCNTL_PERSIST_WAL, true); err != nil {
		t.Fatal(err)
	}
	err = errors.Join(conn.Exec("PRAGMA journal_mode=wal; CREATE TABLE t (x)"), conn.Close())
	err = errors.Join(err, os.Remove(path+"-shm"), os.Chmod(path, 0o600))
	for _, name := range []string{path, path + "-wal"} {
		err = errors.Join(err, os.Chown(name, 4711, 4712))
	}
	if err != nil {
		t.Fatal(err)
	}
	if err := copyLive(t.Context(), path, filepath.Join(t.TempDir(), "copy.db")); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path + "-shm")
	if err != nil {
		t.Fatal(err)
	}
	stat := info.Sys().(*syscall.Stat_t)
	if got := fmt.Sprintf("%o %d %d", info.Mode(), stat.Uid, stat.Gid); got != "600 4711 4712" {
		t.Errorf("-shm: %s", got)
	}
}
