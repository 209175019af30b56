package format

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/superfly/ltx"
)

// ErrWALHeader means that bytes are not the header of a WAL. SQLite treats such a WAL as
// empty: it was never written, or its header is torn.
var ErrWALHeader = errors.New("not a WAL header")

// WALHeader is the first 32 bytes of a WAL.
type WALHeader struct {
	BigEndian bool      // byte order in which checksums read their input
	PageSize  uint32    // bytes
	Sequence  uint32    // counts checkpoints
	Salt      Salt      // of this life of the WAL
	Checksum  [2]uint32 // of the 24 bytes before it; frame 1 continues it
}

// ParseWALHeader parses the first [WALHeaderSize] bytes of b. It fails with
// [ErrWALHeader] if there are fewer, or if the magic number, the version, the
// page size or the checksum is wrong.
func ParseWALHeader(b []byte) (WALHeader, error) {
	if len(b) < WALHeaderSize {
		return WALHeader{}, fmt.Errorf("format: %w: %d bytes", ErrWALHeader, len(b))
	}
	magic := binary.BigEndian.Uint32(b)
	if magic&^1 != walMagic {
		return WALHeader{}, fmt.Errorf("format: %w: magic %08x", ErrWALHeader, magic)
	}
	if v := binary.BigEndian.Uint32(b[4:]); v != walVersion {
		return WALHeader{}, fmt.Errorf("format: %w: version %d", ErrWALHeader, v)
	}
	h := WALHeader{
		BigEndian: magic&1 != 0,
		PageSize:  binary.BigEndian.Uint32(b[8:]),
		Sequence:  binary.BigEndian.Uint32(b[12:]),
		Salt:      Salt(b[16:24]),
		Checksum:  [2]uint32{binary.BigEndian.Uint32(b[24:]), binary.BigEndian.Uint32(b[28:])},
	}
	if !ltx.IsValidPageSize(h.PageSize) {
		return WALHeader{}, fmt.Errorf("format: %w: page size %d", ErrWALHeader, h.PageSize)
	}
	if WALChecksum(h.BigEndian, [2]uint32{}, b[:24]) != h.Checksum {
		return WALHeader{}, fmt.Errorf("format: %w: checksum does not match", ErrWALHeader)
	}
	return h, nil
}

// AppendTo appends the header's 32 bytes to b. It computes the checksum and ignores
// h.Checksum, so a header made from its other fields is valid; a parsed header gives the
// parsed bytes again.
func (h WALHeader) AppendTo(b []byte) []byte {
	magic := uint32(walMagic)
	if h.BigEndian {
		magic |= 1
	}
	start := len(b)
	b = binary.BigEndian.AppendUint32(b, magic)
	b = binary.BigEndian.AppendUint32(b, walVersion)
	b = binary.BigEndian.AppendUint32(b, h.PageSize)
	b = binary.BigEndian.AppendUint32(b, h.Sequence)
	b = append(b, h.Salt[:]...)
	sum := WALChecksum(h.BigEndian, [2]uint32{}, b[start:])
	b = binary.BigEndian.AppendUint32(b, sum[0])
	return binary.BigEndian.AppendUint32(b, sum[1])
}
