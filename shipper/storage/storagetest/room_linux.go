package storagetest

import "golang.org/x/sys/unix"

// room returns how many bytes a file system can take, 0 if that is not known.
func room(dir string) uint64 {
	var s unix.Statfs_t
	if unix.Statfs(dir, &s) != nil {
		return 0
	}
	return s.Bavail * uint64(s.Bsize)
}
