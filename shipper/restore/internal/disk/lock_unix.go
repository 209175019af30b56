//go:build unix

package disk

import (
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// Lock takes an exclusive lock on bytes of a file until [Close], or fails with
// [ErrInUse].
func Lock(f *os.File, start, length int64) error { return lockAs(unix.F_WRLCK, f, start, length) }

// Share takes a shared lock.
func Share(f *os.File, start, length int64) error { return lockAs(unix.F_RDLCK, f, start, length) }

func lockAs(kind int16, f *os.File, start, length int64) error {
	err := unix.FcntlFlock(f.Fd(), setLock, &unix.Flock_t{
		Type:   kind,
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

// Close ends the locks on a file, and closes it. Closing it alone would not end them
// immediately: between fork and exec, a program that this process starts has the file
// open, too.
func Close(f *os.File) error {
	return errors.Join(lockAs(unix.F_UNLCK, f, 0, 0), f.Close())
}
