package wal

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/walvfs/walvfs/internal/statefile"
)

// copyBuffer is the number of bytes that a [Copy] reads at once, at most.
const copyBuffer = 1 << 20

var copyBuffers = sync.Pool{New: func() any { return new([copyBuffer]byte) }}

// ErrNoRoom means that the disk has less than twice the room that a copy needs. The
// application's commits have priority.
var ErrNoRoom = errors.New("the disk has no room for a copy of the pages")

// A Copy holds pages of a database in an unnamed file, each at its offset in the database
// file. It is used by one goroutine at a time.
type Copy struct {
	PageSize uint32 // bytes
	file     *os.File
}

// NewCopy returns a copy without pages, in a file next to the database, with room for so
// many bytes. It ends with [Copy.Close].
func NewCopy(dir string, pageSize uint32, bytes int64) (*Copy, error) {
	f, err := statefile.Temp(dir)
	if err != nil {
		return nil, err
	}
	if room, ok := roomBeside(f); ok && room/2 < bytes {
		return nil, errors.Join(ErrNoRoom, statefile.CloseTemp(f))
	}
	return &Copy{PageSize: pageSize, file: f}, nil
}

// Take copies pages, which must be in ascending order, from a snapshot until a time, but at
// least one run of pages. It returns how many it copied.
func (c *Copy) Take(s *Snapshot, pages []uint32, until time.Time) (n int, err error) {
	size := int(c.PageSize)
	buffer := copyBuffers.Get().(*[copyBuffer]byte)
	defer copyBuffers.Put(buffer)
	for n < len(pages) && (n == 0 || time.Now().Before(until)) {
		first, run := pages[n], 1
		for n+run < len(pages) && pages[n+run] == first+uint32(run) && (run+1)*size <= copyBuffer {
			run++
		}
		b := buffer[:run*size]
		if err := s.ReadPages(first, b); err != nil {
			return n, err
		}
		if _, err := c.file.WriteAt(b, c.offset(first)); err != nil {
			return n, fmt.Errorf("copy pages: %w", err)
		}
		n += run
	}
	return n, nil
}

// ReadPages reads consecutive pages of the copy, as many as fit into p.
func (c *Copy) ReadPages(first uint32, p []byte) error {
	if _, err := c.file.ReadAt(p, c.offset(first)); err != nil {
		return fmt.Errorf("copy of page %d: %w", first, err)
	}
	return nil
}

func (c *Copy) offset(page uint32) int64 { return int64(page-1) * int64(c.PageSize) }

// Close removes the copy.
func (c *Copy) Close() error { return statefile.CloseTemp(c.file) }
