package file

import (
	"os"

	"golang.org/x/sys/unix"
)

// renameNew renames a file unless the new name exists.
func renameNew(oldname, newname string) error {
	if err := unix.RenamexNp(oldname, newname, unix.RENAME_EXCL); err != nil {
		return &os.LinkError{Op: "rename", Old: oldname, New: newname, Err: err}
	}
	return nil
}
