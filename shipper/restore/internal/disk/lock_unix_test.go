//go:build unix

package disk

import (
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// Close ends a lock although a program that is being started briefly has all open files.
func TestLockEndsBesideCopies(t *testing.T) {
	name := filepath.Join(t.TempDir(), "locked")
	open := func() *os.File {
		f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		return f
	}
	f := open()
	if err := Lock(f, 7, 5); err != nil {
		t.Fatal(err)
	}
	started, err := unix.Dup(int(f.Fd()))
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(started)
	if err := Close(f); err != nil {
		t.Fatal(err)
	}
	f = open()
	defer f.Close()
	if err := Lock(f, 0, 100); err != nil {
		t.Error(err)
	}
}
