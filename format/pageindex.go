package format

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"

	"github.com/superfly/ltx"
)

// PageEntry says where in an LTX file a page is.
type PageEntry struct {
	Number uint32
	Offset int64 // of its frame, in bytes from the file's beginning
	Size   int64 // of its frame, in bytes
}

// End returns where the next page's frame begins.
func (e PageEntry) End() int64 { return e.Offset + e.Size }

// PageIndexTail is the bytes at the end of an LTX file that locate its page index: the
// index's size, before the trailer.
const PageIndexTail = 8 + LTXTrailerSize

// PageEndSize is the bytes that end the pages, all zero, before the page index.
const PageEndSize = ltx.PageHeaderSize

// PageIndexSize returns the size of a file's page index in bytes, from the last
// [PageIndexTail] bytes of the file, which has size bytes. The index is right before
// them. It fails with [ErrCorrupt] if the file cannot have such an index.
func PageIndexSize(tail []byte, size int64) (int64, error) {
	if len(tail) != PageIndexTail {
		return 0, corruptIndex(fmt.Errorf("%d bytes", len(tail)))
	}
	n := binary.BigEndian.Uint64(tail)
	if n == 0 || n > uint64(max(0, size-LTXHeaderSize-PageIndexTail)) {
		return 0, corruptIndex(fmt.Errorf("it cannot have %d bytes", n))
	}
	return int64(n), nil
}

// PageIndexParser reads a page index from bytes fed piece by piece. Only the file's
// checksum covers an index. The parser checks that the page numbers ascend, and that the
// frames follow each other without a gap from the header on, as every encoder writes
// them.
//
// The index is a run of entries, each three varints (page, offset, size), and a zero:
// https://github.com/superfly/ltx
type PageIndexParser struct {
	last  PageEntry // zero before the first entry
	size  int64     // bytes
	ended bool
}

// Feed reads the index's next bytes, calls fn for each entry, and returns how many bytes
// it used. The other bytes begin an incomplete entry, and must be fed again with the
// bytes that follow them, or are behind the index. Feed fails with [ErrCorrupt].
func (p *PageIndexParser) Feed(b []byte, fn func(PageEntry)) (n int, err error) {
	for !p.ended {
		number, offset, size, m := cutEntry(b[n:])
		if m < 0 {
			return n, corruptIndex(errors.New("a number has too many bytes"))
		}
		if m == 0 {
			break
		}
		n += m
		if number == 0 {
			p.ended = true
			break
		}
		if err := p.add(number, offset, size); err != nil {
			return n, corruptIndex(fmt.Errorf("page %d: %w", number, err))
		}
		fn(p.last)
	}
	p.size += int64(n)
	return n, nil
}

// Ended reports whether the whole index was fed.
func (p *PageIndexParser) Ended() bool { return p.ended }

// Size returns the bytes used.
func (p *PageIndexParser) Size() int64 { return p.size }

func (p *PageIndexParser) add(number, offset, size uint64) error {
	free := uint64(max(p.last.End(), LTXHeaderSize))
	switch {
	case number > math.MaxUint32:
		return errors.New("no page has that number")
	case uint32(number) <= p.last.Number:
		return fmt.Errorf("comes after page %d", p.last.Number)
	case offset != free || size <= ltx.PageHeaderSize || size > MaxPageFrame:
		return fmt.Errorf("cannot be %d bytes at offset %d", size, offset)
	}
	p.last = PageEntry{uint32(number), int64(offset), int64(size)}
	return nil
}

// ParsePageIndex calls fn with each entry of a page index, in ascending order. It
// fails with [ErrCorrupt] if b is not one whole index.
func ParsePageIndex(b []byte, fn func(PageEntry)) error {
	var p PageIndexParser
	n, err := p.Feed(b, fn)
	switch {
	case err != nil:
		return err
	case !p.ended:
		return corruptIndex(errors.New("it has no end"))
	case n < len(b):
		return corruptIndex(errors.New("something follows its end"))
	}
	return nil
}

// CutPageEntry reads the entry of a page index that b begins with, and returns its size n
// in bytes. It is for a reader that begins in the middle of an index: n is 0 if the entry
// is incomplete, or if b begins with the end of the index, and negative if b begins with
// no entry. The caller checks the entry: any bytes look like one.
func CutPageEntry(b []byte) (e PageEntry, n int) {
	number, offset, size, n := cutEntry(b)
	switch {
	case n <= 0:
		return e, n
	case number == 0:
		return e, 0
	case number > math.MaxUint32 || offset > math.MaxInt64/2 || size > MaxPageFrame || size <= ltx.PageHeaderSize || offset < LTXHeaderSize:
		return e, -1
	}
	return PageEntry{uint32(number), int64(offset), int64(size)}, n
}

// cutEntry returns the entry that b begins with and its size n in bytes: 0 if it is
// incomplete, negative if it is no entry. A number of 0, which is alone, ends the index.
func cutEntry(b []byte) (number, offset, size uint64, n int) {
	for _, v := range []*uint64{&number, &offset, &size} {
		var m int
		if *v, m = binary.Uvarint(b[n:]); m <= 0 {
			return 0, 0, 0, m
		}
		n += m
		if number == 0 {
			break
		}
	}
	return number, offset, size, n
}

func corruptIndex(err error) error {
	return fmt.Errorf("format: page index: %w: %w", ErrCorrupt, err)
}
