package file

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"syscall"

	"github.com/walvfs/walvfs/shipper/storage"
)

// unsupported reports whether a system call failed because the file system does not
// support it: hard links, a rename that preserves an existing name, or the sync of a
// directory.
func unsupported(err error) bool {
	for _, e := range []error{syscall.EPERM, syscall.ENOTSUP, syscall.EOPNOTSUPP, syscall.ENOSYS, syscall.EINVAL, syscall.EMLINK, errors.ErrUnsupported} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// goneError: the directory existed before, but no longer does.
type goneError struct{}

func (goneError) Error() string { return "the replica's directory is gone" }

func (goneError) Is(target error) bool { return target == storage.ErrNoBucket }

// checkRoot fails if the directory is gone. See the package comment.
func (s *Store) checkRoot() error {
	seen := s.seen.Load() // before the check: another writer may create it meanwhile
	_, err := os.Stat(s.root)
	switch {
	case err == nil:
		s.seen.Store(true)
	case errors.Is(err, fs.ErrNotExist) && seen:
		return goneError{}
	}
	return nil // the operation finds other errors
}

// absent reports whether an error means that the object does not exist. A file in place
// of a directory in the key's path counts, unless it is the root.
func (s *Store) absent(err error) bool {
	if errors.Is(err, syscall.ENOTDIR) {
		fi, statErr := os.Stat(s.root)
		return statErr == nil && fi.IsDir()
	}
	return errors.Is(err, fs.ErrNotExist)
}

func (s *Store) fail(op, key string, err error) error {
	e := &storage.Error{Op: op, URL: s.url, Key: key, Err: err}
	var pathErr *fs.PathError
	if errors.As(err, &pathErr) && pathErr.Op == op {
		e.Err = pathErr.Err // its path repeats the key
	}
	switch {
	case errors.Is(err, storage.ErrNoBucket):
		e.Hint = "mount its disk, or create it if the replica is to begin again"
	case errors.Is(err, storage.ErrNoCondition):
		e.Hint = "the file system has no hard links; " + storage.HintNoCondition
	case errors.Is(err, syscall.EROFS):
		e.Err = fmt.Errorf("%w: %w", storage.ErrPermission, e.Err)
		e.Hint = "the file system is mounted read-only"
	case errors.Is(err, fs.ErrPermission):
		e.Hint = "the user that runs this program needs to read and write the directory"
	case errors.Is(err, syscall.ENOSPC):
		e.Hint = "free space on the replica's disk"
	case errors.Is(err, syscall.EDQUOT):
		e.Hint = "the user's disk quota is used up"
	case errors.Is(err, syscall.ENOTDIR):
		e.Hint = "a file is where a directory of the replica should be"
	}
	return e
}
