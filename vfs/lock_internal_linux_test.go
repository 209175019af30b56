package vfs

import (
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// Close ends the lock although a child has all files open for a moment, between fork and
// exec.
func TestLockEndsBesideCopies(t *testing.T) {
	path := filepath.Join(t.TempDir(), "app.db")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	lock, err := lockDatabase(path)
	if err != nil {
		t.Fatal(err)
	}
	started, err := unix.Dup(int(lock.file.Fd()))
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(started)
	if other, err := lockDatabase(path); err == nil {
		t.Fatal("locked twice")
	} else if other.Close() != nil {
		t.Fatal("no lock cannot be closed")
	}
	if err := lock.Close(); err != nil {
		t.Fatal(err)
	}
	again, err := lockDatabase(path)
	if err != nil {
		t.Fatal(err)
	}
	again.Close()
}
