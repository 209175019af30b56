//go:build unix

package statefile

import (
	"io/fs"
	"os"
	"syscall"
)

// heirs returns the owner and group that a file inherits: only root can give a file to
// another user.
func heirs(info fs.FileInfo) (uid, gid int) {
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return -1, -1
	}
	if os.Geteuid() == 0 {
		return int(stat.Uid), int(stat.Gid)
	}
	return -1, int(stat.Gid)
}
