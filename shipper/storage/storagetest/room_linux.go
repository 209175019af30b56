package storagetest

import "golang.org/x/sys/unix"

// room returns the free space of a file system in bytes, 0 if unknown.
func room(dir string) uint64 {
	var s unix.Statfs_t
	if unix.Statfs(dir, &s) != nil {
		return 0
	}
	return s.Bavail * uint64(s.Bsize)
}
