package vfs_test

import (
	"strings"
	"sync"
	"syscall"

	"github.com/walvfs/walvfs/internal/statefile"
	"github.com/walvfs/walvfs/internal/statefile/diskhook"
)

// fullDisks are the databases whose state file fails every write.
var fullDisks sync.Map // by path

func init() {
	wrap := func(name string, d diskhook.Disk) diskhook.Disk {
		path := strings.TrimSuffix(name, statefile.Suffix)
		if p := power.disk(path); p != nil {
			return &powerState{d, p, p.now(statefile.Suffix)}
		}
		return &fullDisk{d, path}
	}
	diskhook.StateFile.Store(&wrap)
}

type fullDisk struct {
	diskhook.Disk
	path string
}

func (d *fullDisk) WriteAt(p []byte, off int64) (int, error) {
	if _, full := fullDisks.Load(d.path); full {
		return 0, syscall.ENOSPC
	}
	return d.Disk.WriteAt(p, off)
}
