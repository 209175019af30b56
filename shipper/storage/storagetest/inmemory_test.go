package storagetest

import (
	"os"
	"path/filepath"
	"testing"
)

// Files are in memory if it has room for them, also for processes that a test starts, and
// are removed in the end.
func TestInMemory(t *testing.T) {
	const disk = "/"
	t.Setenv("TMPDIR", disk)
	dir := ""
	tests := InMemory(testsFunc(func() int {
		dir = os.TempDir()
		return InMemory(testsFunc(func() int {
			if os.TempDir() != dir {
				t.Errorf("%s, and then %s", dir, os.TempDir())
			}
			return 7
		})).Run()
	}))
	code := tests.Run()
	if code != 7 {
		t.Errorf("exit code %d", code)
	}
	if room(memory) < enough {
		if dir != disk {
			t.Errorf("files are in %s, where there is no room", dir)
		}
	} else if _, err := os.Stat(dir); filepath.Dir(dir) != memory || !os.IsNotExist(err) {
		t.Errorf("files were in %s: %v", dir, err)
	}
}
