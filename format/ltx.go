package format

import (
	"errors"
	"fmt"

	"github.com/superfly/ltx"
)

// The parts of an LTX file are those of github.com/superfly/ltx, whose README
// is their specification.
type (
	LTXHeader  = ltx.Header   // first 100 bytes
	LTXTrailer = ltx.Trailer  // last 16 bytes
	Checksum   = ltx.Checksum // CRC-64 with its highest bit set
)

// Sizes in an LTX file, in bytes.
const (
	LTXHeaderSize  = ltx.HeaderSize
	LTXTrailerSize = ltx.TrailerSize
)

// ErrCorrupt says that bytes are not a whole and unharmed LTX file. Reading
// them again gives the same: an error of the reader itself does not wrap it.
var ErrCorrupt = errors.New("corrupt LTX file")

// LockPage returns the number of the page at byte 1 GiB, which SQLite's locks
// lie on. It is never written and never part of an LTX file.
// See https://sqlite.org/fileformat2.html#the_lock_byte_page.
func LockPage(pageSize uint32) uint32 { return ltx.LockPgno(pageSize) }

// ParseLTXHeader parses the first [LTXHeaderSize] bytes of an LTX file, for a
// ranged read of one. It fails with [ErrCorrupt] if b has fewer or a field has
// a value that it cannot have. Nothing covers the header alone with a checksum.
func ParseLTXHeader(b []byte) (LTXHeader, error) {
	var h LTXHeader
	if err := h.UnmarshalBinary(b); err != nil {
		return LTXHeader{}, fmt.Errorf("format: LTX header: %w: %w", ErrCorrupt, err)
	}
	if err := h.Validate(); err != nil {
		return LTXHeader{}, fmt.Errorf("format: LTX header: %w: %w", ErrCorrupt, err)
	}
	return h, nil
}

// ParseLTXTrailer parses the last [LTXTrailerSize] bytes of an LTX file, and
// fails with [ErrCorrupt] if b has another length or they hold no file checksum.
func ParseLTXTrailer(b []byte) (LTXTrailer, error) {
	if len(b) != LTXTrailerSize {
		return LTXTrailer{}, fmt.Errorf("format: LTX trailer: %w: %d bytes", ErrCorrupt, len(b))
	}
	var t LTXTrailer
	_ = t.UnmarshalBinary(b) // fails on short input only
	if t.FileChecksum&ltx.ChecksumFlag == 0 {
		return LTXTrailer{}, fmt.Errorf("format: LTX trailer: %w: no file checksum", ErrCorrupt)
	}
	return t, nil
}

// pageOrder checks that pages come as an LTX file must hold them. It exists
// because the library checks it in part when it writes and not when it reads.
type pageOrder struct {
	header LTXHeader
	last   uint32 // page before, 0 if there is none
}

// next accepts the page that comes after the one before.
func (o *pageOrder) next(pgno uint32) error {
	lock := LockPage(o.header.PageSize)
	switch {
	case pgno > o.header.Commit:
		return fmt.Errorf("page %d is beyond the database's %d pages", pgno, o.header.Commit)
	case pgno == lock:
		return fmt.Errorf("page %d is the lock page", pgno)
	case pgno <= o.last:
		return fmt.Errorf("page %d comes after page %d", pgno, o.last)
	case o.header.IsSnapshot() && pgno != o.following():
		return fmt.Errorf("page %d is missing from a file that starts at TXID 1", o.following())
	}
	o.last = pgno
	return nil
}

// end accepts that no page follows.
func (o *pageOrder) end() error {
	if o.header.IsSnapshot() && o.following() <= o.header.Commit {
		return fmt.Errorf("page %d is missing from a file that starts at TXID 1", o.following())
	}
	return nil
}

// following returns the number of the next page that a database has.
func (o *pageOrder) following() uint32 {
	if o.last+1 == LockPage(o.header.PageSize) {
		return o.last + 2
	}
	return o.last + 1
}
