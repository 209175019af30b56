package format

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/superfly/ltx"
)

// An LTXHeader is the first 100 bytes of an LTX file. The README of
// github.com/superfly/ltx is its specification.
type LTXHeader struct {
	Version          int      // of the format: 3
	Flags            uint32   // 2: no checksum of the database
	PageSize         uint32   // bytes
	Commit           uint32   // size of the database after the file, in pages
	MinTXID, MaxTXID TXID     // the range that the file holds
	Timestamp        int64    // of MaxTXID, Unix time in milliseconds
	PreApplyChecksum Checksum // of the database before the file, 0 if absent

	// For a level 0 file: the part of the WAL that it was made from, in bytes, and the WAL's
	// salts. All are 0 if unknown.
	WALOffset, WALSize int64
	WALSalt1, WALSalt2 uint32

	NodeID uint64 // of the copy of the database that wrote it, 0 if unknown
}

// An LTXTrailer is the last 16 bytes of an LTX file.
type LTXTrailer struct {
	PostApplyChecksum Checksum // of the database after the file, 0 if absent
	FileChecksum      Checksum // of the file's content and structure
}

// IsSnapshot reports whether the file holds every page of the database: it starts at TXID 1.
func (h LTXHeader) IsSnapshot() bool { return h.MinTXID == 1 }

// NoChecksum reports whether the file has no checksum of the database, as is the case for
// the files of walvfs and Litestream.
func (h LTXHeader) NoChecksum() bool { return h.Flags&ltx.HeaderFlagNoChecksum != 0 }

// library converts the header to the library's type, which encodes and validates it.
func (h LTXHeader) library() *ltx.Header {
	return &ltx.Header{
		Version: h.Version, Flags: h.Flags, PageSize: h.PageSize, Commit: h.Commit,
		MinTXID: ltx.TXID(h.MinTXID), MaxTXID: ltx.TXID(h.MaxTXID), Timestamp: h.Timestamp,
		PreApplyChecksum: ltx.Checksum(h.PreApplyChecksum),
		WALOffset:        h.WALOffset, WALSize: h.WALSize, WALSalt1: h.WALSalt1, WALSalt2: h.WALSalt2,
		NodeID: h.NodeID,
	}
}

func headerOf(h *ltx.Header) LTXHeader {
	return LTXHeader{
		Version: h.Version, Flags: h.Flags, PageSize: h.PageSize, Commit: h.Commit,
		MinTXID: TXID(h.MinTXID), MaxTXID: TXID(h.MaxTXID), Timestamp: h.Timestamp,
		PreApplyChecksum: Checksum(h.PreApplyChecksum),
		WALOffset:        h.WALOffset, WALSize: h.WALSize, WALSalt1: h.WALSalt1, WALSalt2: h.WALSalt2,
		NodeID: h.NodeID,
	}
}

// validate fails if a field of the trailer has a value that is invalid in a file with
// that header.
func (t LTXTrailer) validate(h LTXHeader) error {
	lib := ltx.Trailer{PostApplyChecksum: ltx.Checksum(t.PostApplyChecksum), FileChecksum: ltx.Checksum(t.FileChecksum)}
	return lib.Validate(*h.library())
}

// Sizes in an LTX file, in bytes.
const (
	LTXHeaderSize  = ltx.HeaderSize
	LTXTrailerSize = ltx.TrailerSize
)

// ErrCorrupt means that bytes are not a complete, intact LTX file. Reading them again
// gives the same result: an error of the reader itself does not wrap it.
var ErrCorrupt = errors.New("corrupt LTX file")

// LockPage returns the number of the page at byte 1 GiB, which holds SQLite's locks. It
// is never written and never part of an LTX file. See
// https://sqlite.org/fileformat2.html#the_lock_byte_page.
func LockPage(pageSize uint32) uint32 { return ltx.LockPgno(pageSize) }

// ParseLTXHeader parses the first [LTXHeaderSize] bytes of an LTX file, for a ranged
// read. It fails with [ErrCorrupt] if b has fewer or a field has an invalid value. No
// checksum covers the header alone.
func ParseLTXHeader(b []byte) (LTXHeader, error) {
	var h ltx.Header
	if err := h.UnmarshalBinary(b); err != nil {
		return LTXHeader{}, fmt.Errorf("format: LTX header: %w: %w", ErrCorrupt, err)
	}
	if err := h.Validate(); err != nil {
		return LTXHeader{}, fmt.Errorf("format: LTX header: %w: %w", ErrCorrupt, err)
	}
	return headerOf(&h), nil
}

// ParseLTXTrailer parses the last [LTXTrailerSize] bytes of an LTX file, and fails with
// [ErrCorrupt] if b has another length or no file checksum.
func ParseLTXTrailer(b []byte) (LTXTrailer, error) {
	if len(b) != LTXTrailerSize {
		return LTXTrailer{}, fmt.Errorf("format: LTX trailer: %w: %d bytes", ErrCorrupt, len(b))
	}
	t := LTXTrailer{
		PostApplyChecksum: Checksum(binary.BigEndian.Uint64(b)),
		FileChecksum:      Checksum(binary.BigEndian.Uint64(b[8:])),
	}
	if t.FileChecksum&checksumFlag == 0 {
		return LTXTrailer{}, fmt.Errorf("format: LTX trailer: %w: no file checksum", ErrCorrupt)
	}
	return t, nil
}

// pageOrder checks that pages come as an LTX file must hold them. The library checks the
// order only in part when it writes, and not when it reads.
type pageOrder struct {
	header LTXHeader
	last   uint32 // page before, 0 if none
}

// next accepts the next page.
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

// end checks that no page is missing at the end.
func (o *pageOrder) end() error {
	if o.header.IsSnapshot() && o.following() <= o.header.Commit {
		return fmt.Errorf("page %d is missing from a file that starts at TXID 1", o.following())
	}
	return nil
}

// following returns the number of the next page of a database.
func (o *pageOrder) following() uint32 {
	if o.last+1 == LockPage(o.header.PageSize) {
		return o.last + 2
	}
	return o.last + 1
}
