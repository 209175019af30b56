// Package wal reads SQLite's write-ahead log while connections write to it:
// its content when a database is opened ([Look]), the end of the newest commit
// ([Boundary]), a read transaction without SQLite ([Mark]), and the content of pages at
// a boundary ([Snapshot]).
//
// https://sqlite.org/walformat.html
package wal

import (
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/walvfs/walvfs/format"
)

// ErrMoved means that the WAL was reset after its boundary was read, which a read mark of
// 0 allows. The cut needs a new boundary.
var ErrMoved = errors.New("the WAL was reset during a cut")

// Boundary reads the end of the newest committed transaction from the WAL index. It
// includes commits by other processes and excludes failed commits, which look the same in
// the WAL.
//
// https://sqlite.org/walformat.html#the_wal_index_file_format
func Boundary(index io.ReaderAt) (format.WALIndex, error) {
	var b [format.WALIndexHeaderSize]byte
	for try := 0; ; try++ {
		_, err := index.ReadAt(b[:], 0)
		if err == nil {
			var at format.WALIndex
			if at, err = format.ParseWALIndex(b[:]); err == nil {
				return at, nil
			}
		}
		// A commit writes the two copies one after the other.
		if try == 20 {
			return format.WALIndex{}, fmt.Errorf("WAL index: %w", err)
		}
		time.Sleep(time.Duration(try) * 100 * time.Microsecond)
	}
}

// Salt reads the salts and the page size of a WAL. They are zero if it has no valid
// header: SQLite takes such a WAL for an empty one.
func Salt(wal io.ReaderAt) (format.Salt, uint32, error) {
	var b [format.WALHeaderSize]byte
	if _, err := wal.ReadAt(b[:], 0); err == io.EOF {
		return format.Salt{}, 0, nil
	} else if err != nil {
		return format.Salt{}, 0, err
	}
	h, err := format.ParseWALHeader(b[:])
	if err != nil {
		return format.Salt{}, 0, nil
	}
	return h.Salt, h.PageSize, nil
}

// A FrameIndex finds the newest frame of each page in one epoch. It can be dropped and
// rebuilt at any time.
type FrameIndex struct {
	Epoch  format.Salt
	UpTo   uint32            // frames indexed
	Newest map[uint32]uint32 // page to frame
}

// Begin empties the index for another epoch.
func (x *FrameIndex) Begin(epoch format.Salt) {
	*x = FrameIndex{Epoch: epoch, Newest: make(map[uint32]uint32)}
}
