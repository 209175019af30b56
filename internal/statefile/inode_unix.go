//go:build unix

package statefile

import (
	"io/fs"
	"syscall"
)

func inodeOf(info fs.FileInfo) (device, inode uint64) {
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return 0, 0
	}
	return uint64(stat.Dev), uint64(stat.Ino)
}
