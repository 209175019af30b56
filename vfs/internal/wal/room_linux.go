package wal

import (
	"os"

	"golang.org/x/sys/unix"
)

// roomBeside returns how many bytes the file system of a file has left for this process.
// It reports false if the file system does not say.
func roomBeside(f *os.File) (bytes int64, ok bool) {
	var s unix.Statfs_t
	if err := unix.Fstatfs(int(f.Fd()), &s); err != nil || s.Blocks == 0 {
		return 0, false
	}
	return int64(s.Bavail) * s.Frsize, true
}
