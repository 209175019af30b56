package vfs

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/ncruces/go-sqlite3/vfs"
)

// errNotOnDisk: a replica of such a database would hold the bytes that the VFS underneath
// shows, such as the plain text of an encrypted database, and that VFS could not read a
// file restored from it.
var errNotOnDisk = errors.New("the VFS underneath stores a database in another form, as an encrypting VFS does " +
	"(replicate the database without that VFS, and encrypt the disk and the bucket instead)")

// comparedBytes of a database suffice: they are its first page, or the beginning of it.
const comparedBytes = 4096

// sameOnDisk returns nil if a file of the VFS underneath begins with the bytes on the
// disk. Another process may write them meanwhile.
func sameOnDisk(path string, file vfs.File) error {
	disk, err := os.Open(path)
	if err != nil {
		return err
	}
	defer disk.Close()
	var before, seen, after []byte
	for range 10 {
		if before, err = beginning(disk); err != nil {
			return err
		}
		if seen, err = beginning(file); err != nil {
			return fmt.Errorf("%w: %w", errNotOnDisk, err)
		}
		if bytes.Equal(before, seen) {
			return nil
		}
		if after, err = beginning(disk); err != nil {
			return err
		}
		if bytes.Equal(before, after) {
			return errNotOnDisk
		}
	}
	return fmt.Errorf("read %s: another process keeps writing it", path)
}

// beginning reads the first comparedBytes of a file, or all of a shorter file.
func beginning(file io.ReaderAt) ([]byte, error) {
	b := make([]byte, comparedBytes)
	n, err := file.ReadAt(b, 0)
	if err == io.EOF {
		err = nil
	}
	return b[:n], err
}
