package vfs

import (
	"encoding/binary"
	"fmt"

	"github.com/ncruces/go-sqlite3/vfs"

	"github.com/walvfs/walvfs/format"
)

// walFile is one connection's WAL. SQLite uses only the base interface of a WAL.
//
// SQLite writes a frame in two pieces, header and page, which walFile writes as one: one
// system call less a frame makes up for the cost of replication. No reader looks at a
// frame before its transaction is committed, and SQLite always writes the page next,
// except after headers that it rewrites when a transaction has written a page twice. Such
// headers belong to frames that the transaction wrote before. With psow=0, SQLite may
// split either piece, and walFile holds nothing back.
type walFile struct {
	vfs.File
	main   *mainFile
	psow   bool   // when SQLite opened the file
	frame  []byte // a header that waits for its page
	at     int64  // the offset of frame, 0 for none
	commit bool   // frame ends a transaction
	end    walEnd // of its last write
}

// A walEnd is the end of a WAL. The checksum of its last frame covers all frames before it.
type walEnd struct {
	salt     format.Salt
	offset   int64 // bytes
	checksum [2]uint32
}

// isAt reports whether a boundary is exactly at e. It is false for a nil e.
func (e *walEnd) isAt(at format.WALIndex) bool {
	return e != nil && at.MxFrame > 0 && *e == walEnd{at.Salt, format.FrameOffset(at.PageSize, at.MxFrame+1), at.FrameChecksum}
}

var _ vfs.FileUnwrap = (*walFile)(nil)

// WriteAt forwards. A write at offset 0 is the header, and a reset. A frame
// header with a commit size may become a commit: it wakes the shipper, because
// CommitPhaseTwo does not come for the first of two files whose second one fails. With
// psow=0, SQLite also writes headers in pieces, but only in copies that fill a sector
// after the commit frame.
func (f *walFile) WriteAt(p []byte, off int64) (int, error) {
	if f.main.db.mayRefuse() {
		if err := f.main.refuse(); err != nil {
			f.at = 0
			return 0, err
		}
	}
	if f.at != 0 {
		return f.writePage(p, off)
	}
	if off == 0 {
		return f.writeHeader(p)
	}
	again := off < f.main.written
	f.main.written = max(f.main.written, off+int64(len(p)))
	if len(p) != format.FrameHeaderSize {
		return f.File.WriteAt(p, off)
	}
	size := binary.BigEndian.Uint32(p[4:])
	if size != 0 {
		if f.main.sync {
			if err := f.main.refuseSuper(); err != nil {
				return 0, err
			}
		}
		f.main.db.ledger.Sized(size)
	}
	f.frame, f.at, f.commit = append(f.frame[:0], p...), off, size != 0
	if again || !f.psow {
		return len(p), f.flush()
	}
	return len(p), nil
}

// writePage writes the page whose header waits for it.
func (f *walFile) writePage(p []byte, off int64) (int, error) {
	if header := f.at; off != header+format.FrameHeaderSize {
		f.at = 0 // another connection may have written there since
		return 0, fmt.Errorf("walvfs: the WAL is written at %d, and not the page after the frame header at %d", off, header)
	}
	f.main.written = max(f.main.written, off+int64(len(p)))
	f.frame = append(f.frame, p...)
	return len(p), f.flush()
}

// flush writes the frame that waits.
func (f *walFile) flush() error {
	_, err := f.File.WriteAt(f.frame, f.at)
	f.end = walEnd{} // a sync cannot make a missing frame durable
	if err == nil {
		header := format.ParseFrame(f.frame)
		f.end = walEnd{header.Salt, f.at + int64(len(f.frame)), header.Checksum}
	}
	f.at = 0
	if f.commit {
		f.commitFrame()
	}
	return err
}

// Sync forwards. It makes all frames durable up to the last one written through this
// file, because there is one writer at a time.
func (f *walFile) Sync(flags vfs.SyncFlag) error {
	end := f.end
	err := f.File.Sync(flags)
	if err != nil {
		end = walEnd{} // a later sync may succeed without these frames
	}
	f.end = end
	f.main.db.synced.Store(&end)
	return err
}

func (f *walFile) commitFrame() {
	if !f.main.unsettled {
		f.main.unsettled = true
		f.main.db.unsettled.Add(1)
	}
	f.main.db.rechecks.Store(0)
	f.main.db.wake()
}

func (f *walFile) writeHeader(p []byte) (n int, err error) {
	var next format.Salt
	copy(next[:], p[min(16, len(p)):])
	err = f.main.db.ledger.Reset(f.File, next, func() error {
		n, err = f.File.WriteAt(p, 0)
		return err
	})
	if err == nil {
		f.main.db.inWAL.Store(true)
	}
	return n, err
}

// Truncate forwards. Truncation to 0 is a reset.
func (f *walFile) Truncate(size int64) error {
	if size != 0 {
		return f.File.Truncate(size)
	}
	return f.main.db.ledger.Reset(f.File, format.Salt{}, func() error { return f.File.Truncate(0) })
}

// Close closes the file, unless replication keeps it open without its connection.
func (f *walFile) Close() error {
	if d := f.main.db; f.main.internal && f.File == d.wal {
		if d.resting {
			return nil
		}
		d.wal = nil
	}
	return f.File.Close()
}

func (f *walFile) Unwrap() vfs.File { return f.File }
