package format

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
)

// Sizes in a WAL, in bytes: https://sqlite.org/fileformat2.html#walformat.
const (
	WALHeaderSize   = 32 // before the first frame
	FrameHeaderSize = 24 // before each page
)

const (
	walMagic   = 0x377f0682 // with the lowest bit set: big-endian checksums
	walVersion = 3007000    // of the WAL and of the WAL index
)

// Salt is the two salts of a WAL, verbatim as on disk: bytes 16 to 24 of the
// WAL's header, bytes 8 to 16 of a frame's. They identify one life of a WAL
// between two resets. Compare them for equality and nothing else: they count
// up, jump or repeat.
type Salt [8]byte

// Salt1 returns the first salt, as a number.
func (s Salt) Salt1() uint32 { return binary.BigEndian.Uint32(s[:4]) }

// Salt2 returns the second salt, as a number.
func (s Salt) Salt2() uint32 { return binary.BigEndian.Uint32(s[4:]) }

// IsZero reports whether both salts are zero, as in the frames that SQLite
// writes when a transaction outgrows its page cache, until it commits.
func (s Salt) IsZero() bool { return s == Salt{} }

// String returns both salts as 16 hexadecimal digits.
func (s Salt) String() string { return hex.EncodeToString(s[:]) }

// MarshalText returns the text of String.
func (s Salt) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText parses the text of MarshalText.
func (s *Salt) UnmarshalText(b []byte) error {
	if len(b) != hex.EncodedLen(len(s)) {
		return fmt.Errorf("format: a salt has %d hexadecimal digits, not %d", hex.EncodedLen(len(s)), len(b))
	}
	_, err := hex.Decode(s[:], b)
	return err
}

// FrameOffset returns the byte offset in the WAL of frame n's header, n counted from 1.
// The page follows [FrameHeaderSize] bytes later. The offset is also the size in bytes of
// a WAL of n-1 frames.
func FrameOffset(pageSize, n uint32) int64 {
	return WALHeaderSize + int64(n-1)*(FrameHeaderSize+int64(pageSize))
}

// WALChecksum continues a WAL checksum over b, in blocks of 8 bytes; it ignores the
// remaining bytes. bigEndian is the byte order of b's words, not of the stored sum. See
// https://sqlite.org/fileformat2.html#checksum_algorithm.
func WALChecksum(bigEndian bool, sum [2]uint32, b []byte) [2]uint32 {
	s0, s1 := sum[0], sum[1]
	if bigEndian {
		for len(b) >= 8 {
			s0 += binary.BigEndian.Uint32(b) + s1
			s1 += binary.BigEndian.Uint32(b[4:]) + s0
			b = b[8:]
		}
	} else {
		for len(b) >= 8 {
			s0 += binary.LittleEndian.Uint32(b) + s1
			s1 += binary.LittleEndian.Uint32(b[4:]) + s0
			b = b[8:]
		}
	}
	return [2]uint32{s0, s1}
}
