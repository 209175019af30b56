package format

import (
	"encoding/binary"
	"hash/crc64"
)

var crcTable = crc64.MakeTable(crc64.ISO)

// crcSum is the CRC-64 of a run of bytes. The sums of two adjacent runs combine into the
// sum of both, so that the parts of a large file can be summed at the same time. It is
// zlib's crc32_combine, for the polynomial of LTX files.
type crcSum struct {
	crc uint64
	n   int64 // bytes
}

func (s *crcSum) write(b []byte) {
	s.crc = updateCRC(s.crc, b)
	s.n += int64(len(b))
}

// append makes s the sum of its own bytes followed by t's.
func (s *crcSum) append(t crcSum) {
	s.crc = mulPoly(s.crc, powPoly(t.n)) ^ t.crc
	s.n += t.n
}

// powPoly returns x to the power of the bits in n bytes, modulo the polynomial.
// As in the CRC, bit 63 is the coefficient of x to the 0.
func powPoly(n int64) uint64 {
	p := uint64(1) << 63
	for i := 3; n > 0; i, n = i+1, n>>1 {
		if n&1 != 0 {
			p = mulPoly(p, squares[i])
		}
	}
	return p
}

// squares holds x to the power of 2 to the power of i.
var squares = func() (s [66]uint64) {
	s[0] = 1 << 62
	for i := range len(s) - 1 {
		s[i+1] = mulPoly(s[i], s[i])
	}
	return s
}()

func mulPoly(a, b uint64) (p uint64) {
	for ; a != 0; a <<= 1 {
		if a>>63 != 0 {
			p ^= b
		}
		carry := b & 1
		b >>= 1
		if carry != 0 {
			b ^= crc64.ISO
		}
	}
	return p
}

// updateCRC is crc64.Update, three times as fast: 5.4 GB/s for a page of 4 KiB, and 1.8
// GB/s, measured on one core, where decompression reaches 3 GB/s. The standard library
// looks each byte up in a table, for any polynomial. This polynomial, x^64 + x^4 + x^3 +
// x + 1, has so few terms that eight bytes are multiplied by a power of x in a few
// shifts, in four lanes that do not wait for each other.
func updateCRC(crc uint64, b []byte) uint64 {
	const block = 32
	if len(b) < 2*block {
		return crc64.Update(crc, crcTable, b)
	}
	word := binary.LittleEndian.Uint64
	c0, c1, c2, c3 := ^crc, uint64(0), uint64(0), uint64(0)
	for ; len(b) >= 2*block; b = b[block:] {
		c0 = mulX256(c0 ^ word(b))
		c1 = mulX256(c1 ^ word(b[8:]))
		c2 = mulX256(c2 ^ word(b[16:]))
		c3 = mulX256(c3 ^ word(b[24:]))
	}
	c := mulX64(c0 ^ word(b))
	c = mulX64(c ^ c1 ^ word(b[8:]))
	c = mulX64(c ^ c2 ^ word(b[16:]))
	c = mulX64(c ^ c3 ^ word(b[24:]))
	return crc64.Update(^c, crcTable, b[block:])
}

// mulX64 multiplies by x^64, which is x^4 + x^3 + x + 1: shifts to the right, as the
// highest power is in the lowest bit. Bits shifted out come around again.
func mulX64(c uint64) uint64 {
	out := c<<63 ^ c<<61 ^ c<<60
	return c ^ c>>1 ^ c>>3 ^ c>>4 ^ out ^ out>>1 ^ out>>3 ^ out>>4
}

// mulX256 multiplies by x^256, the fourth power of x^64: x^16 + x^12 + x^4 + 1.
func mulX256(c uint64) uint64 {
	out := c<<60 ^ c<<52 ^ c<<48
	return c ^ c>>4 ^ c>>12 ^ c>>16 ^ out ^ out>>1 ^ out>>3 ^ out>>4
}
