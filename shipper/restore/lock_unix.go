//go:build unix

package restore

import (
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// lockFile takes an exclusive lock on bytes of a file until it is closed, or
// fails with [ErrInUse].
func lockFile(f *os.File, start, length int64) error {
	err := unix.FcntlFlock(f.Fd(), setLock, &unix.Flock_t{
		Type:   unix.F_WRLCK,
		Whence: io.SeekStart,
		Start:  start,
		Len:    length,
	})
	if errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EACCES) {
		return ErrInUse
	}
	if err != nil {
		return fmt.Errorf("lock: %w", err)
	}
	return nil
}

// inherit gives the new file the old one's mode, and its owner if we may: root
// restores a database for an application that is not root.
func (p *place) inherit(f, old *os.File) error {
	if old == nil {
		return nil
	}
	info, err := old.Stat()
	if err != nil {
		return &Error{"stat", p.path, pathless(err), ""}
	}
	var st unix.Stat_t
	if err := unix.Fstat(int(old.Fd()), &st); err == nil {
		_ = f.Chown(int(st.Uid), int(st.Gid))
	}
	if err := f.Chmod(info.Mode().Perm()); err != nil {
		return &Error{"change the mode of", f.Name(), pathless(err), ""}
	}
	return nil
}
