package wal

import (
	"fmt"
	"io"

	"github.com/ncruces/go-sqlite3/vfs"

	"github.com/walvfs/walvfs/format"
)

// A File is a file from which a snapshot reads.
type File interface {
	io.ReaderAt
	Sync(flags vfs.SyncFlag) error
}

// A Snapshot is the content of a database at a boundary, read under a [Mark]. While the
// mark is held, checkpoints stop at it, so neither the frames up to the boundary nor the
// pages without a frame change. The one exception is a read mark of 0, when everything is
// checkpointed: it stops checkpoints altogether, but not a reset. Then all content is in
// the database file, which does not change.
//
// A Snapshot is read by one goroutine at a time.
type Snapshot struct {
	At       format.WALIndex
	Newest   map[uint32]uint32 // page to frame, up to the boundary
	WAL      File
	Main     File // the database file
	ReadMain bool // pages were read from the database file

	checksums bool // pages end in a checksum that WAL frames do not have yet
	reset     bool
	salt      format.Salt // in the WAL, as last read
}

// Begin finds out whether pages carry checksums.
func (s *Snapshot) Begin() (err error) {
	page := make([]byte, s.At.PageSize)
	if err := s.ReadPages(1, page); err != nil {
		return err
	}
	s.checksums = page[20] == 8
	s.ReadMain = false // the caller may not need page 1
	return nil
}

// WasReset reports whether the WAL was found to be reset since the boundary.
func (s *Snapshot) WasReset() bool { return s.reset }

// ReadPages reads consecutive pages, as many as fit into p.
func (s *Snapshot) ReadPages(first uint32, p []byte) error {
	for size := int(s.At.PageSize); len(p) > 0; {
		n, err := s.readSome(first, p)
		if err != nil {
			return err
		}
		first += uint32(n)
		p = p[n*size:]
	}
	return nil
}

// readSome reads one page from its frame, or all pages before the next page with a frame
// at once. It returns how many pages it read.
func (s *Snapshot) readSome(first uint32, p []byte) (n int, err error) {
	size := int(s.At.PageSize)
	if frame := s.frame(first); frame != 0 {
		ok, err := s.readFrame(frame, p[:size])
		if err != nil {
			return 0, fmt.Errorf("page %d, WAL frame %d: %w", first, frame, err)
		}
		if ok {
			if s.checksums {
				fillChecksum(p[:size])
			}
			return 1, nil
		}
		s.reset = true
	}
	n = 1
	for n*size < len(p) && s.frame(first+uint32(n)) == 0 {
		n++
	}
	return n, s.readMain(first, p[:n*size])
}

// frame returns the newest frame of a page, 0 if it is in the database file.
func (s *Snapshot) frame(pgno uint32) uint32 {
	if s.WasReset() {
		return 0
	}
	return s.Newest[pgno]
}

// readMain reads pages from the database file.
func (s *Snapshot) readMain(first uint32, p []byte) error {
	s.ReadMain = true
	n, err := s.Main.ReadAt(p, int64(first-1)*int64(s.At.PageSize))
	if err == io.EOF {
		clear(p[n:]) // beyond the end of the file: pages that were never written
		return nil
	}
	if err != nil {
		return fmt.Errorf("page %d: %w", first+uint32(n/int(s.At.PageSize)), err)
	}
	return nil
}

// readFrame reads the page of a frame. It reports false if the WAL was reset meanwhile: a
// reset changes the header before any frame, so readFrame checks the header after the
// read.
func (s *Snapshot) readFrame(n uint32, p []byte) (bool, error) {
	_, err := s.WAL.ReadAt(p, format.FrameOffset(s.At.PageSize, n)+format.FrameHeaderSize)
	if err != nil && err != io.EOF {
		return false, err
	}
	s.salt = format.Salt{}
	if _, serr := s.WAL.ReadAt(s.salt[:], 16); serr != nil && serr != io.EOF {
		return false, serr
	}
	return err == nil && s.salt == s.At.Salt, nil
}

// Sync returns a function that makes the pages read until now durable, except for the WAL
// if durable says that it is durable up to the boundary. The function may run
// concurrently with later reads. By then the mark may be released and the WAL reset: the
// content of its frames is in the database file.
func (s *Snapshot) Sync(durable bool) func() error {
	main := s.ReadMain
	return func() error {
		if !durable {
			if err := s.WAL.Sync(vfs.SYNC_NORMAL); err != nil {
				return err
			}
		}
		if !main {
			salt, _, err := Salt(s.WAL)
			if err != nil || salt == s.At.Salt {
				return err
			}
		}
		return s.Main.Sync(vfs.SYNC_NORMAL)
	}
}
