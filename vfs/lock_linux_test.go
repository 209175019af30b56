package vfs_test

import (
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

// lockFile locks a byte of a file through its own open file, as another process would.
func lockFile(t *testing.T, path string, offset int64) *os.File {
	t.Helper()
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.FcntlFlock(f.Fd(), unix.F_OFD_SETLK, &unix.Flock_t{Type: unix.F_WRLCK, Start: offset, Len: 1}); err != nil {
		t.Fatal(err)
	}
	return f
}
