package file

import (
	"os"

	"golang.org/x/sys/unix"
)

// renameNew renames a file unless the new name exists.
// https://man7.org/linux/man-pages/man2/rename.2.html
func renameNew(oldname, newname string) error {
	err := unix.Renameat2(unix.AT_FDCWD, oldname, unix.AT_FDCWD, newname, unix.RENAME_NOREPLACE)
	if err != nil {
		return &os.LinkError{Op: "rename", Old: oldname, New: newname, Err: err}
	}
	return nil
}
