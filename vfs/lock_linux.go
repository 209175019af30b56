package vfs

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// lockOffset is the byte of a database file that a process locks to replicate it, after
// the bytes that SQLite locks, which end at 0x40000000 + 512. A lock needs no data there:
// the byte may lie beyond the end of the file.
//
// https://sqlite.org/fileformat2.html#the_lock_byte_page
const lockOffset = 0x40000000 + 512 + 'w'

// A processLock keeps other processes from replicating a database. It ends with Close, or
// with the process.
type processLock struct{ file *os.File }

// lockDatabase locks a database. It fails with errLocked if another process has the lock.
// It returns nil, which can be closed, where the system has no such lock.
func lockDatabase(path string) (*processLock, error) {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil // the VFS underneath has its files elsewhere
	}
	if err != nil {
		return nil, err
	}
	l := &processLock{f}
	switch err = l.set(unix.F_WRLCK); {
	case err == nil:
		return l, nil
	case errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EACCES):
		err = fmt.Errorf("%w (stop it first, or set lock_timeout to wait for it)", errLocked)
	case errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOLCK):
		err = nil // a file system without such locks
	}
	f.Close()
	return nil, err
}

func (l *processLock) set(kind int16) error {
	return unix.FcntlFlock(l.file.Fd(), unix.F_OFD_SETLK, &unix.Flock_t{Type: kind, Start: lockOffset, Len: 1})
}

// Close ends the lock. Closing the file alone would not, for a moment: between fork and
// exec, a program that this process starts has the file open, too.
func (l *processLock) Close() error {
	if l == nil {
		return nil
	}
	return errors.Join(l.set(unix.F_UNLCK), l.file.Close())
}
