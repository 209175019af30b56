package format

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/superfly/ltx"
)

// WALIndexHeaderSize is the bytes at the start of a WAL index that
// [ParseWALIndex] needs: two copies of its header.
// See https://sqlite.org/walformat.html#the_wal_index_header.
const WALIndexHeaderSize = 2 * walIndexCopySize

const walIndexCopySize = 48

// ErrWALIndex means that bytes are not, or not at this moment, the header of a WAL index:
// the index is not initialised yet, or a writer changed it during the read. Read it
// again.
var ErrWALIndex = errors.New("WAL index header not valid")

// WALIndex is the header of a WAL index: the state of the WAL that new readers see. It
// covers only committed frames, of every process.
type WALIndex struct {
	BigEndian     bool      // byte order of the WAL's checksums
	PageSize      uint32    // bytes
	MxFrame       uint32    // number of the last committed frame, 0 if none
	NPage         uint32    // size of the database in pages
	Change        uint32    // grows with each commit while the index exists
	FrameChecksum [2]uint32 // of frame MxFrame
	Salt          Salt      // of the WAL's header, verbatim
}

// ParseWALIndex parses the first [WALIndexHeaderSize] bytes of b, in the byte order of
// this machine. It fails with [ErrWALIndex] if there are fewer, if the copies differ, or
// if the version, the page size or the checksum is wrong. The page size and NPage are 0
// as long as the WAL has been empty since the index was created.
func ParseWALIndex(b []byte) (WALIndex, error) {
	if len(b) < WALIndexHeaderSize {
		return WALIndex{}, fmt.Errorf("format: %w: %d bytes", ErrWALIndex, len(b))
	}
	if !bytes.Equal(b[:walIndexCopySize], b[walIndexCopySize:WALIndexHeaderSize]) {
		return WALIndex{}, fmt.Errorf("format: %w: its copies differ", ErrWALIndex)
	}
	if b[12] == 0 {
		return WALIndex{}, fmt.Errorf("format: %w: not initialised", ErrWALIndex)
	}
	if v := binary.NativeEndian.Uint32(b); v != walVersion {
		return WALIndex{}, fmt.Errorf("format: %w: version %d", ErrWALIndex, v)
	}
	if WALChecksum(nativeBigEndian, [2]uint32{}, b[:40]) != nativePair(b[40:]) {
		return WALIndex{}, fmt.Errorf("format: %w: checksum does not match", ErrWALIndex)
	}
	x := WALIndex{
		BigEndian:     b[13] != 0,
		PageSize:      uint32(binary.NativeEndian.Uint16(b[14:])),
		MxFrame:       binary.NativeEndian.Uint32(b[16:]),
		NPage:         binary.NativeEndian.Uint32(b[20:]),
		Change:        binary.NativeEndian.Uint32(b[8:]),
		FrameChecksum: nativePair(b[24:]),
		Salt:          Salt(b[32:40]),
	}
	if x.PageSize == 1 { // 65536 does not fit the field
		x.PageSize = ltx.MaxPageSize
	}
	// A WAL that was empty when the index was created has neither frames nor size.
	if !ltx.IsValidPageSize(x.PageSize) && (x.PageSize != 0 || x.MxFrame != 0) {
		return WALIndex{}, fmt.Errorf("format: %w: page size %d", ErrWALIndex, x.PageSize)
	}
	return x, nil
}

var nativeBigEndian = binary.NativeEndian.Uint16([]byte{0, 1}) == 1

func nativePair(b []byte) [2]uint32 {
	return [2]uint32{binary.NativeEndian.Uint32(b), binary.NativeEndian.Uint32(b[4:])}
}

// WALIndexPages returns where a WAL index has the page number of frame n, which counts
// from 1: an offset in bytes, and the number of frames whose page numbers are there, each
// in 4 bytes in the byte order of this machine. A number is 0 beyond the last frame, or
// left over from an earlier frame. See
// https://sqlite.org/walformat.html#the_wal_index_file_format.
func WALIndexPages(n uint32) (offset int64, frames int) {
	const (
		block  = 32 << 10            // bytes, of page numbers and then of a hash table
		header = walIndexHeaders / 4 // page numbers that the first block lacks
	)
	at := n - 1 + header
	return int64(at/WALIndexBlock)*block + int64(at%WALIndexBlock)*4, int(WALIndexBlock - at%WALIndexBlock)
}

// WALIndexBlock is the page numbers in each block of a WAL index except the first.
const WALIndexBlock = 4096

// walIndexHeaders is the bytes before the first page number: two copies of the header,
// and the information that readers and checkpoints share.
const walIndexHeaders = WALIndexHeaderSize + 40
