package vfs

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/walvfs/walvfs/format"
)

// errMoved: the WAL was reset after its boundary was read, which a read mark of 0
// allows. There is another boundary to cut at.
var errMoved = errors.New("the WAL was reset during a cut")

// boundary reads the end of the newest committed transaction from the WAL index.
// It includes commits by others and excludes what failed, which no write in the
// WAL can tell.
//
// https://sqlite.org/walformat.html#the_wal_index_file_format
func boundary(shm io.ReaderAt) (format.WALIndex, error) {
	var b [format.WALIndexHeaderSize]byte
	for try := 0; ; try++ {
		_, err := shm.ReadAt(b[:], 0)
		if err == nil {
			var index format.WALIndex
			if index, err = format.ParseWALIndex(b[:]); err == nil {
				return index, nil
			}
		}
		// A commit writes the two copies one after the other.
		if try == 20 {
			return format.WALIndex{}, fmt.Errorf("WAL index: %w", err)
		}
		time.Sleep(time.Duration(try) * 100 * time.Microsecond)
	}
}

// A frameIndex finds the newest frame of each page in one epoch. It is the
// cut's own, and can be dropped and rebuilt at any time.
type frameIndex struct {
	epoch  format.Salt
	upTo   uint32            // frames in it
	newest map[uint32]uint32 // page to frame
}

func (x *frameIndex) reset(epoch format.Salt) {
	*x = frameIndex{epoch: epoch, newest: make(map[uint32]uint32)}
}

// A cut of so many bytes takes more than a moment to read. It had better begin when the
// WAL has just begun anew: a writer that never pauses fills it in some 10 ms, and the
// cut is read before that.
const (
	largeCut   = 2 << 20
	anewWithin = 15 * time.Millisecond
)

// awaitAnew waits a moment for the WAL to begin anew, if the next cut is known to be
// large.
func (c *capture) awaitAnew(ctx context.Context) {
	c.mu.Lock()
	if c.dirty.GetCardinality()*uint64(c.pageSize) < largeCut {
		c.mu.Unlock()
		return
	}
	if c.anew == nil {
		c.anew = make(chan struct{})
	}
	anew := c.anew
	c.mu.Unlock()
	select {
	case <-anew:
	case <-ctx.Done():
	case <-time.After(anewWithin):
	}
}

// scanBatch is how many frames are looked at while a reset has to wait.
const scanBatch = 1024

// advance makes dirty what was committed up to the boundary, and brings the frame
// index there. It must be called in a read transaction that began before the
// boundary was read.
func (c *capture) advance(wal io.ReaderAt, to format.WALIndex, x *frameIndex) error {
	done, err := c.adopt(wal, to, x)
	for !done && err == nil {
		done, err = c.scan(wal, to, x)
	}
	return err
}

// adopt compares the epoch with the boundary's. It reports true if there are no
// frames to scan.
func (c *capture) adopt(wal io.ReaderAt, to format.WALIndex, x *frameIndex) (done bool, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	salt, pageSize, err := walSalt(wal)
	if err != nil {
		return false, err
	}
	if to.MxFrame == 0 {
		// All that the WAL ever held is in the database file. Its header may be
		// the epoch's still: the next commit rewrites it.
		switch {
		case salt != c.epoch, salt.IsZero() && to.Change != c.change:
			c.resync(foreignReset)
			c.closed = nil
		default:
			c.fold(wal, pageSize)
		}
		c.epoch, c.scanned, c.change, c.trail = salt, 0, to.Change, nil
		x.reset(format.Salt{})
		return true, nil
	}
	if salt != to.Salt {
		return false, errMoved
	}
	if c.epoch != salt {
		// Every page is dirty, so nothing depends on which ones the frames name.
		c.resync(foreignReset)
		c.closed = nil
		c.epoch, c.scanned, c.checksum, c.trail = salt, to.MxFrame, to.FrameChecksum, nil
	}
	if x.epoch != salt {
		x.reset(salt)
	}
	return x.upTo >= to.MxFrame, nil
}

// scan looks at the next frames up to the boundary.
func (c *capture) scan(wal io.ReaderAt, to format.WALIndex, x *frameIndex) (done bool, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	var b [format.FrameHeaderSize]byte
	for range scanBatch {
		if x.upTo >= to.MxFrame || c.epoch != to.Salt {
			// Another epoch means that a reset came in between: it has made the
			// rest dirty, and everything is in the database file.
			return true, nil
		}
		n := x.upTo + 1
		if _, err := wal.ReadAt(b[:], format.FrameOffset(to.PageSize, n)); err != nil {
			return false, fmt.Errorf("WAL frame %d: %w", n, err)
		}
		f := format.ParseFrame(b[:])
		if f.Salt != to.Salt {
			return false, errMoved
		}
		x.newest[f.Page], x.upTo = n, n
		if n > c.scanned {
			c.note(n, f)
		}
	}
	return false, nil
}
