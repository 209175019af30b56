package format

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/pierrec/lz4/v4"
	"github.com/superfly/ltx"
)

// PageFrame is a page in its form in an LTX file: its header and its compressed content.
type PageFrame struct {
	Number uint32
	raw    []byte
	head   int // bytes of raw that the file's checksum covers unchanged
}

// Size returns the frame's size in the file, in bytes.
func (f PageFrame) Size() int { return len(f.raw) }

// MaxPageFrame is more than the bytes of any page frame that a [Scanner] accepts: 64 KiB
// of incompressible data, and the headers around it.
const MaxPageFrame = 65536 + 1024

// PageDecoder decompresses page frames. The zero value is ready. Only one goroutine may
// use it.
type PageDecoder struct {
	zr *lz4.Reader // for the older encoding
}

// Decode decompresses a frame into page, which has the file's page size, and adds both to
// the sum, unless the sum is nil. It fails with [ErrCorrupt] if the frame holds anything
// but exactly one page.
func (d *PageDecoder) Decode(f PageFrame, page []byte, sum *PageSum) error {
	if err := d.decompress(f, page); err != nil {
		return corrupt(fmt.Errorf("page %d: %w", f.Number, err))
	}
	if sum != nil {
		sum.add(f, page)
	}
	return nil
}

func (d *PageDecoder) decompress(f PageFrame, page []byte) error {
	if f.head == ltx.PageHeaderSize {
		return d.decompressFrame(f.raw[f.head:], page)
	}
	n, err := lz4.UncompressBlock(f.raw[f.head:], page)
	if err == nil && n != len(page) {
		err = fmt.Errorf("it has %d bytes, not %d", n, len(page))
	}
	return err
}

// decompressFrame reads the older encoding, an LZ4 frame.
func (d *PageDecoder) decompressFrame(b, page []byte) error {
	if d.zr == nil {
		d.zr = lz4.NewReader(nil)
	}
	d.zr.Reset(bytes.NewReader(b))
	if _, err := io.ReadFull(d.zr, page); err != nil {
		return err
	}
	if _, err := io.ReadFull(d.zr, make([]byte, 1)); err != io.EOF {
		return errors.New("it is longer than a page")
	}
	return nil
}

// PageSum is the part of a file's checksum that consecutive pages contribute.
// [PageDecoder.Decode] adds pages, and [Scanner.Verify] compares the sums.
type PageSum struct {
	crc      crcSum
	database bool     // the database's own checksum is computed, too
	pages    Checksum // of the database
}

func (s *PageSum) add(f PageFrame, page []byte) {
	s.crc.write(f.raw[:f.head])
	s.crc.write(page)
	if s.database {
		s.pages ^= Checksum(ltx.ChecksumPage(f.Number, page))
	}
}

// CutPageFrame returns the frame that b begins with, of a page of pageSize bytes, for a
// ranged read. The frame is a part of b. It has a size of 0 if b holds only a part of it,
// and a number of 0 where the pages end. CutPageFrame fails with [ErrCorrupt] if b begins
// with no frame.
func CutPageFrame(b []byte, pageSize uint32) (PageFrame, error) {
	f, err := cutFrame(b, pageSize)
	if err != nil {
		return f, corrupt(err)
	}
	return f, nil
}

// maxBlock returns the largest size of n bytes as an LZ4 block: LZ4_compressBound in
// https://github.com/lz4/lz4/blob/dev/lib/lz4.h.
func maxBlock(n uint32) uint32 { return n + n/255 + 16 }

// cutFrame returns the frame that b begins with, of a page of pageSize bytes.
// It has no bytes if b holds only a part of it, and a number of 0 where the
// pages end.
func cutFrame(b []byte, pageSize uint32) (f PageFrame, err error) {
	var h ltx.PageHeader
	if h.UnmarshalBinary(b) != nil {
		return f, nil // too short
	}
	if h.IsZero() {
		return PageFrame{raw: b[:ltx.PageHeaderSize]}, nil
	}
	if err := h.Validate(); err != nil {
		return f, err
	}
	head, n := ltx.PageHeaderSize, 0
	if h.Flags&ltx.PageHeaderFlagSize != 0 {
		head, n, err = cutBlock(b, pageSize)
	} else {
		n, err = lz4FrameSize(b[head:])
	}
	if err != nil {
		return f, fmt.Errorf("page %d: %w", h.Pgno, err)
	}
	if n == 0 || len(b) < head+n {
		return f, nil
	}
	return PageFrame{h.Pgno, b[:head+n], head}, nil
}

// cutBlock returns the size of a page header and of the LZ4 block that follows it, or 0
// if b is too short.
func cutBlock(b []byte, pageSize uint32) (head, n int, err error) {
	head = ltx.PageHeaderSize + 4
	if len(b) < head {
		return head, 0, nil
	}
	size := binary.BigEndian.Uint32(b[ltx.PageHeaderSize:])
	if size == 0 {
		return 0, 0, errors.New("compressed to nothing")
	}
	if size > maxBlock(pageSize) {
		return 0, 0, fmt.Errorf("compressed to %d bytes, more than a page can need", size)
	}
	return head, int(size), nil
}

// lz4FrameSize returns the size of the LZ4 frame that b begins with, or 0 if b holds only
// a part of it. See https://github.com/lz4/lz4/blob/dev/doc/lz4_Frame_format.md.
func lz4FrameSize(b []byte) (int, error) {
	const magic, version = 0x184D2204, 0b01
	if len(b) < 7 {
		return 0, nil
	}
	flags := b[4]
	if binary.LittleEndian.Uint32(b) != magic || flags>>6 != version {
		return 0, errors.New("neither an LZ4 block nor an LZ4 frame")
	}
	optional := func(bit, size int) int { return int(flags) >> bit & 1 * size }
	n := 7 + optional(3, 8) + optional(0, 4) // content size, dictionary
	for n+4 <= len(b) {
		size := binary.LittleEndian.Uint32(b[n:])
		n += 4
		if size == 0 { // the end, and the content's checksum
			if n += optional(2, 4); n <= len(b) {
				return n, nil
			}
			break
		}
		size &= 1<<31 - 1 // the highest bit means that it is not compressed
		if size > MaxPageFrame || n+int(size) > MaxPageFrame-64 {
			return 0, errors.New("compressed to more than a page can need")
		}
		n += int(size) + optional(4, 4) // the block's checksum
	}
	return 0, nil
}
