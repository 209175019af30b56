package disk

import (
	"errors"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"
)

// Open file description locks conflict with SQLite's, even with locks that another driver
// in this process holds.
const setLock = unix.F_OFD_SETLK

// RenameNew renames a file, unless the new name exists.
func RenameNew(from, to string) error {
	err := unix.Renameat2(unix.AT_FDCWD, from, unix.AT_FDCWD, to, unix.RENAME_NOREPLACE)
	switch {
	case err == nil || errors.Is(err, fs.ErrExist):
		return err
	case errors.Is(err, unix.EINVAL), errors.Is(err, unix.ENOSYS):
		return CheckedRename(from, to) // the file system does not support the flag
	}
	return err
}

// IsMount reports whether path is a mount point, of a file system or of a single file.
func IsMount(path string) bool {
	var stat unix.Statx_t
	err := unix.Statx(unix.AT_FDCWD, path, unix.AT_SYMLINK_NOFOLLOW, unix.STATX_TYPE, &stat)
	return err == nil && stat.Attributes&unix.STATX_ATTR_MOUNT_ROOT != 0
}

// StartSync makes the kernel begin to write the file's pages in memory. It is a hint: the
// final sync reports errors.
func StartSync(f *os.File) {
	_ = unix.SyncFileRange(int(f.Fd()), 0, 0, unix.SYNC_FILE_RANGE_WRITE)
}
