package vfs

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// lockOffset is the byte of a database file that the process that replicates it
// locks, after the bytes that SQLite locks, which end at 0x40000000 + 512. A lock
// needs no data there: it may lie beyond the end of the file.
//
// https://sqlite.org/fileformat2.html#the_lock_byte_page
const lockOffset = 0x40000000 + 512 + 'w'

// lockDatabase makes this process the one that replicates a database. The lock
// ends when the file is closed, by a crash at the latest. It fails with errLocked
// if another process has it.
func lockDatabase(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil // the VFS underneath has its files elsewhere
	}
	if err != nil {
		return nil, err
	}
	err = unix.FcntlFlock(f.Fd(), unix.F_OFD_SETLK, &unix.Flock_t{Type: unix.F_WRLCK, Start: lockOffset, Len: 1})
	switch {
	case errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EACCES):
		err = fmt.Errorf("%w (stop it first, or set lock_timeout to wait for it)", errLocked)
	case errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOLCK):
		err = nil // a file system without such locks
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}
