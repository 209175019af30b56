package compare

import (
	"os"

	"github.com/shirou/gopsutil/v4/disk"

	"github.com/walvfs/walvfs/shipper/storage/storagetest"
)

// storesIn is the directory in which stores keep their files; empty is the system's for
// temporary files, where the databases are. What a store writes and flushes on the
// application's own disk holds up the application's flushes, which says something of that
// disk, and nothing of a replica that is elsewhere.
var storesIn string

// enough is the free space that a store may need.
const enough = 4 << 30

// elsewhere is a directory on another file system than the databases are on, if there is
// one in memory, and otherwise where they are.
func elsewhere() string {
	const memory = "/dev/shm"
	u, err := disk.Usage(memory)
	if err != nil || u.Free < enough || u.Fstype == fileSystem(os.TempDir()) {
		return os.TempDir()
	}
	return memory
}

// putStores has stores keep their files in a directory.
func putStores(dir string) {
	storesIn, storagetest.Dir = dir, dir
}

// fileSystem is the kind that a directory is on; empty if the system does not tell.
func fileSystem(dir string) string {
	u, err := disk.Usage(dir)
	if err != nil {
		return ""
	}
	return u.Fstype
}
