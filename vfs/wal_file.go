package vfs

import (
	"encoding/binary"

	"github.com/ncruces/go-sqlite3/vfs"

	"github.com/walvfs/walvfs/format"
)

// walFile is one connection's WAL. SQLite asks a WAL for the base interface only.
type walFile struct {
	vfs.File
	main *mainFile
}

var _ vfs.FileUnwrap = (*walFile)(nil)

// WriteAt forwards. A write at offset 0 is the header, and a reset. A frame
// header with a commit size may become a commit: it wakes the shipper, because
// CommitPhaseTwo does not come for the first of two files whose second one
// fails. With psow=0 headers are also written in pieces, but only those of
// copies that fill a sector after the commit frame.
func (f *walFile) WriteAt(p []byte, off int64) (int, error) {
	if f.main.db.mayRefuse() {
		if err := f.main.refuse(); err != nil {
			return 0, err
		}
	}
	if off == 0 {
		return f.writeHeader(p)
	}
	if len(p) == format.FrameHeaderSize {
		if size := binary.BigEndian.Uint32(p[4:]); size != 0 {
			f.main.db.capture.own.sized(size)
			defer f.commitFrame()
		}
	}
	return f.File.WriteAt(p, off)
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
	err = f.main.db.capture.reset(f.File, next, func() error {
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
	return f.main.db.capture.reset(f.File, format.Salt{}, func() error { return f.File.Truncate(0) })
}

// Close closes the file, unless it is left open without its connection.
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
