package format

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// PageIndexTail is the bytes at the end of an LTX file that tell where its page
// index is: the index's size, before the trailer.
const PageIndexTail = 8 + LTXTrailerSize

// PageIndexSize returns the size of a file's page index in bytes, from the last
// [PageIndexTail] bytes of the file, which has size bytes. The index stands right
// before them. It fails with [ErrCorrupt] if the file cannot have such an index.
func PageIndexSize(tail []byte, size int64) (int64, error) {
	if len(tail) != PageIndexTail {
		return 0, fmt.Errorf("format: page index: %w: %d bytes", ErrCorrupt, len(tail))
	}
	n := binary.BigEndian.Uint64(tail)
	if n == 0 || n > uint64(max(0, size-LTXHeaderSize-PageIndexTail)) {
		return 0, fmt.Errorf("format: page index: %w: it cannot have %d bytes", ErrCorrupt, n)
	}
	return int64(n), nil
}

// ParsePageIndex calls fn with the number of each page that a page index lists, in
// ascending order. It fails with [ErrCorrupt] if b is not a whole index. Nothing
// but the file's checksum covers it.
//
// https://github.com/superfly/ltx
func ParsePageIndex(b []byte, fn func(pgno uint32)) error {
	last := uint64(0)
	for len(b) > 0 {
		entry := [3]uint64{} // page, offset, size
		for i := range entry {
			n := 0
			if entry[i], n = binary.Uvarint(b); n <= 0 {
				return corruptIndex("it is cut off")
			}
			b = b[n:]
			if i == 0 && entry[0] == 0 {
				if len(b) > 0 {
					return corruptIndex("something follows its end")
				}
				return nil
			}
		}
		if entry[0] <= last || entry[0] > 1<<32-1 {
			return corruptIndex(fmt.Sprintf("page %d comes after page %d", entry[0], last))
		}
		last = entry[0]
		fn(uint32(last))
	}
	return corruptIndex("it has no end")
}

func corruptIndex(what string) error {
	return fmt.Errorf("format: page index: %w: %w", ErrCorrupt, errors.New(what))
}
