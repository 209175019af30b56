package statefile

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// createUnnamed creates a file that gets its name last. It fails with
// [errors.ErrUnsupported] if the file system does not allow it, or if /proc is missing.
//
// https://man7.org/linux/man-pages/man2/open.2.html
func createUnnamed(name string, like traits) (*os.File, error) {
	f, err := openUnnamed("create", filepath.Dir(name), name, 0)
	if err != nil {
		return nil, err
	}
	giveTo(f, like)
	err = unix.Linkat(unix.AT_FDCWD, fmt.Sprintf("/proc/self/fd/%d", f.Fd()), unix.AT_FDCWD, name, unix.AT_SYMLINK_FOLLOW)
	if err == nil {
		return f, nil
	}
	f.Close()
	if errors.Is(err, fs.ErrExist) {
		return nil, &fs.PathError{Op: "create", Path: name, Err: err}
	}
	return nil, errors.ErrUnsupported
}

func tempUnnamed(dir string) (*os.File, error) {
	return openUnnamed("create", dir, filepath.Join(dir, ".walvfs-unnamed.tmp"), unix.O_EXCL)
}

// openUnnamed opens a new file in a directory. Errors use name as its name.
func openUnnamed(op, dir, name string, flags int) (*os.File, error) {
	for {
		fd, err := unix.Open(dir, unix.O_TMPFILE|unix.O_RDWR|unix.O_CLOEXEC|flags, 0o600)
		switch {
		case err == nil:
			return os.NewFile(uintptr(fd), name), nil
		case err == unix.EINTR:
		case err == unix.EOPNOTSUPP, err == unix.EISDIR, err == unix.ENOENT, err == unix.EINVAL:
			return nil, errors.ErrUnsupported // or the directory is missing, which the caller's other way reports
		default:
			return nil, &fs.PathError{Op: op, Path: name, Err: err}
		}
	}
}
