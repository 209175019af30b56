package disk

import (
	"errors"
	"io/fs"
	"os"
)

// CheckedRename is RenameNew in two steps.
func CheckedRename(from, to string) error {
	if Exists(to) {
		return fs.ErrExist
	}
	return os.Rename(from, to)
}

// Exists reports whether a file exists, or may exist but cannot be examined.
func Exists(name string) bool {
	_, err := os.Lstat(name)
	return !errors.Is(err, fs.ErrNotExist)
}

// Pathless drops the paths that the os package repeats in its errors.
func Pathless(err error) error {
	if e, ok := errors.AsType[*fs.PathError](err); ok {
		return e.Err
	}
	if e, ok := errors.AsType[*os.LinkError](err); ok {
		return e.Err
	}
	return err
}
