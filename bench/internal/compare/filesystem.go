package compare

import (
	"os"

	"github.com/shirou/gopsutil/v4/disk"

	"github.com/walvfs/walvfs/shipper/storage/storagetest"
)

// storesIn is the directory in which stores keep their files. Empty means the system's
// directory for temporary files, where the databases are. A store that writes and flushes
// on the application's own disk delays the application's flushes. Such a delay shows a
// property of that disk, not of a remote replica.
var storesIn string

// enough is the free space that a store may need.
const enough = 4 << 30

// elsewhere returns a directory in memory, on another file system than the databases;
// without one, it returns the directory of the databases.
func elsewhere() string {
	const memory = "/dev/shm"
	u, err := disk.Usage(memory)
	if err != nil || u.Free < enough || u.Fstype == fileSystem(os.TempDir()) {
		return os.TempDir()
	}
	return memory
}

// putStores sets the directory in which stores keep their files.
func putStores(dir string) {
	storesIn, storagetest.Dir = dir, dir
}

// fileSystem returns the kind of a directory's file system, empty if the system does not
// report it.
func fileSystem(dir string) string {
	u, err := disk.Usage(dir)
	if err != nil {
		return ""
	}
	return u.Fstype
}
