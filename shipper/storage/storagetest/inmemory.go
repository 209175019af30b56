package storagetest

import (
	"os"
	"strings"
)

const (
	memory = "/dev/shm"
	// enough is the room for the largest databases of several packages' tests, in bytes.
	enough = 4 << 30
)

// InMemory returns tests whose temporary directories are in memory, if it has room for 4
// GiB, and otherwise on the disk. It is for packages whose tests sync often, which takes
// time, and only simulate power losses.
//
//	func TestMain(m *testing.M) { goleak.VerifyTestMain(storagetest.InMemory(m)) }
func InMemory(tests Tests) Tests { return inMemory{tests} }

type inMemory struct{ Tests }

func (i inMemory) Run() int {
	// A process that a test starts has a directory of the test's.
	if strings.HasPrefix(os.TempDir(), memory+"/") || room(memory) < enough {
		return i.Tests.Run()
	}
	dir, err := os.MkdirTemp(memory, "walvfs-")
	if err != nil {
		return i.Tests.Run()
	}
	defer os.RemoveAll(dir)
	os.Setenv("TMPDIR", dir)
	return i.Tests.Run()
}
