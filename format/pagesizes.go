package format

import (
	"encoding/binary"
	"iter"
)

// pageSizes keeps the content of a page index compactly: frames follow each other without
// a gap, so an entry is a page number and a size. A page whose frame has less than 16
// KiB, and that follows the page before, takes 3 bytes.
type pageSizes struct {
	chunks [][]byte // of uvarints: the step from the page number before; the size
}

// pageSizesChunk is the bytes allocated at once, except for the first chunk of small
// files.
const (
	pageSizesChunk = 64 << 10
	pageSizesFirst = 64
)

func (s *pageSizes) add(skip, size uint32) {
	last := len(s.chunks) - 1
	if last < 0 || cap(s.chunks[last])-len(s.chunks[last]) < 2*binary.MaxVarintLen32 {
		room := pageSizesFirst
		if last >= 0 {
			room = min(4*cap(s.chunks[last]), pageSizesChunk)
		}
		s.chunks = append(s.chunks, make([]byte, 0, room))
		last++
	}
	b := binary.AppendUvarint(s.chunks[last], uint64(skip))
	s.chunks[last] = binary.AppendUvarint(b, uint64(size))
}

func (s *pageSizes) all() iter.Seq2[uint32, uint32] {
	return func(yield func(skip, size uint32) bool) {
		for _, b := range s.chunks {
			for len(b) > 0 {
				skip, n := binary.Uvarint(b)
				size, m := binary.Uvarint(b[n:])
				b = b[n+m:]
				if !yield(uint32(skip), uint32(size)) {
					return
				}
			}
		}
	}
}
