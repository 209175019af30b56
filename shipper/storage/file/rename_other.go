//go:build !linux && !darwin

package file

import (
	"errors"
	"os"
)

// renameNew would rename a file unless the new name exists.
func renameNew(oldname, newname string) error {
	return &os.LinkError{Op: "rename", Old: oldname, New: newname, Err: errors.ErrUnsupported}
}
