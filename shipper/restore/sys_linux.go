package restore

import (
	"errors"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"
)

// Open file description locks conflict with SQLite's, also with those that
// another driver in this process holds.
const setLock = unix.F_OFD_SETLK

// renameNew renames a file, unless the new name is taken.
func renameNew(from, to string) error {
	err := unix.Renameat2(unix.AT_FDCWD, from, unix.AT_FDCWD, to, unix.RENAME_NOREPLACE)
	switch {
	case err == nil || errors.Is(err, fs.ErrExist):
		return err
	case errors.Is(err, unix.EINVAL), errors.Is(err, unix.ENOSYS):
		return checkedRename(from, to) // a file system that cannot
	}
	return err
}

// startSync has the kernel begin to write what the file has in memory. It is a
// hint: the final sync reports errors.
func startSync(f *os.File) {
	_ = unix.SyncFileRange(int(f.Fd()), 0, 0, unix.SYNC_FILE_RANGE_WRITE)
}
