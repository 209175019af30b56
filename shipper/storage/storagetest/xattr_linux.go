package storagetest

import "golang.org/x/sys/unix"

// hasXattrs reports whether the file system keeps extended attributes of users.
func hasXattrs(dir string) bool {
	return unix.Setxattr(dir, "user.walvfs-test", []byte("1"), 0) == nil
}
