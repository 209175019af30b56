package ledger

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/walvfs/walvfs/format"
	"github.com/walvfs/walvfs/vfs/internal/wal"
)

// A cut of so many bytes takes more than a moment to read. It should begin just after a
// reset of the WAL: a writer that never pauses fills the WAL in some 10 ms, and the cut
// is read before that.
const (
	largeCut   = 2 << 20
	anewWithin = 15 * time.Millisecond
)

// AwaitCut waits a moment for a reset of the WAL, if the next cut is known to be large.
func (l *Ledger) AwaitCut(ctx context.Context) {
	l.mu.Lock()
	large := l.dirty.GetCardinality()*uint64(l.pageSize) >= largeCut
	l.mu.Unlock()
	if large {
		l.AwaitAnew(ctx)
	}
}

// AwaitAnew waits a moment for a reset of the WAL.
func (l *Ledger) AwaitAnew(ctx context.Context) {
	l.mu.Lock()
	if l.anew == nil {
		l.anew = make(chan struct{})
	}
	anew := l.anew
	l.mu.Unlock()
	select {
	case <-anew:
	case <-ctx.Done():
	case <-time.After(anewWithin):
	}
}

// scanBatch is how many frames are read while a reset must wait.
const scanBatch = 1024

// Scan makes dirty the pages committed up to the boundary, and extends the frame index to
// it. It must be called in a read transaction that began before the boundary was read.
func (l *Ledger) Scan(log io.ReaderAt, to format.WALIndex, x *wal.FrameIndex) error {
	done, err := l.adopt(log, to, x)
	for !done && err == nil {
		done, err = l.scanSome(log, to, x)
	}
	return err
}

// adopt compares the epoch with the boundary's. It reports true if there are no frames to
// scan.
func (l *Ledger) adopt(log io.ReaderAt, to format.WALIndex, x *wal.FrameIndex) (done bool, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	salt, pageSize, err := wal.Salt(log)
	if err != nil {
		return false, err
	}
	if to.MxFrame == 0 {
		// All content of the WAL is in the database file. The WAL's header may still be
		// the epoch's: the next commit rewrites it.
		switch {
		case salt != l.epoch, salt.IsZero() && to.Change != l.change:
			l.resync(wal.ErrReset.Error())
			l.closed = nil
		case !l.foldedAt(to.Change):
			l.fold(log, pageSize)
		}
		l.begin(salt)
		l.change, l.folded = to.Change, folded{true, salt, to.Change}
		x.Begin(format.Salt{})
		return true, nil
	}
	if salt != to.Salt {
		return false, wal.ErrMoved
	}
	if l.epoch != salt {
		// Every page is dirty, so it does not matter which pages the frames name.
		l.resync(wal.ErrReset.Error())
		l.closed = nil
		l.begin(salt)
		l.scanned, l.checksum = to.MxFrame, to.FrameChecksum
	}
	if x.Epoch != salt {
		x.Begin(salt)
	}
	return x.UpTo >= to.MxFrame, nil
}

// scanSome reads the next frames up to the boundary.
func (l *Ledger) scanSome(log io.ReaderAt, to format.WALIndex, x *wal.FrameIndex) (done bool, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	var b [format.FrameHeaderSize]byte
	for range scanBatch {
		if x.UpTo >= to.MxFrame || l.epoch != to.Salt {
			// Another epoch means that a reset came in between: it has made the remaining
			// pages dirty, and all content is in the database file.
			return true, nil
		}
		n := x.UpTo + 1
		if _, err := log.ReadAt(b[:], format.FrameOffset(to.PageSize, n)); err != nil {
			return false, fmt.Errorf("WAL frame %d: %w", n, err)
		}
		f := format.ParseFrame(b[:])
		if f.Salt != to.Salt {
			return false, wal.ErrMoved
		}
		x.Newest[f.Page], x.UpTo = n, n
		if n > l.scanned {
			l.note(n, f)
		}
	}
	return false, nil
}
