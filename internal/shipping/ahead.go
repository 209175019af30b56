package shipping

import (
	"context"
	"iter"
	"slices"
	"sync"

	"github.com/RoaringBitmap/roaring/v2"
	"golang.org/x/sync/semaphore"
)

// Reading a page takes a tenth of the time of encoding it. While a cut is read,
// checkpoints wait and the WAL grows. So the pages of a small cut are read ahead of the
// encoder. The pages of a large cut are copied to the disk before: see [Precopied].
const (
	aheadMemory = 8 << 20   // bytes, for all cuts of a process
	aheadChunk  = 256 << 10 // bytes, taken in units of this size; a cut may always have one
)

var aheadOfAll = semaphore.NewWeighted(aheadMemory)

// A readAhead is the next pages of a cut, in memory.
type readAhead struct {
	cut      Cut
	pageSize int
	left     uint64 // pages not read yet
	next     roaring.ManyIntIterable
	numbers  []uint32 // of the pages in memory
	chunks   [][]byte // their content
	taken    int64    // bytes taken of aheadOfAll
}

func newReadAhead(cut Cut, pageSize uint32, pages *roaring.Bitmap) *readAhead {
	return &readAhead{cut: cut, pageSize: int(pageSize), left: pages.GetCardinality(), next: pages.ManyIterator()}
}

// fill reads pages until it has read all or has no more memory. It reports whether pages
// remain.
func (r *readAhead) fill(ctx context.Context) (more bool, err error) {
	for r.left > 0 {
		if len(r.chunks) > 0 {
			if r.left*uint64(r.pageSize) > aheadMemory {
				return true, nil // the cut stays open anyway, and other cuts need the memory
			}
			if !aheadOfAll.TryAcquire(aheadChunk) {
				return true, nil
			}
			r.taken += aheadChunk
		}
		if ctx.Err() != nil {
			return false, context.Cause(ctx)
		}
		if err := r.readChunk(int(min(r.left, uint64(aheadChunk/r.pageSize)))); err != nil {
			return false, err
		}
	}
	return false, nil
}

// readChunk reads the next n pages. It reads a run of consecutive pages at once.
func (r *readAhead) readChunk(n int) error {
	chunk := newChunk(n * r.pageSize)
	r.chunks = append(r.chunks, chunk)
	r.numbers = slices.Grow(r.numbers, n)
	numbers := r.numbers[len(r.numbers) : len(r.numbers)+n]
	r.next.NextMany(numbers)
	r.numbers = r.numbers[:len(r.numbers)+n]
	r.left -= uint64(n)
	for len(numbers) > 0 {
		run := 1
		for run < len(numbers) && numbers[run] == numbers[0]+uint32(run) {
			run++
		}
		if err := r.cut.ReadPages(numbers[0], chunk[:run*r.pageSize]); err != nil {
			return err
		}
		numbers, chunk = numbers[run:], chunk[run*r.pageSize:]
	}
	return nil
}

// chunks holds used chunks for the next cut.
var chunks = sync.Pool{New: func() any { return new([aheadChunk]byte) }}

func newChunk(size int) []byte {
	if size < aheadChunk {
		return make([]byte, size) // most commits are a few pages
	}
	return chunks.Get().(*[aheadChunk]byte)[:]
}

// pages iterates over the pages in memory.
func (r *readAhead) pages() iter.Seq2[uint32, []byte] {
	return func(yield func(uint32, []byte) bool) {
		perChunk := aheadChunk / r.pageSize
		for i, pgno := range r.numbers {
			at := i % perChunk * r.pageSize
			if !yield(pgno, r.chunks[i/perChunk][at:at+r.pageSize]) {
				return
			}
		}
	}
}

// free releases the pages and their memory.
func (r *readAhead) free() {
	for _, c := range r.chunks {
		if len(c) == aheadChunk {
			chunks.Put((*[aheadChunk]byte)(c))
		}
	}
	aheadOfAll.Release(r.taken)
	r.numbers, r.chunks, r.taken = r.numbers[:0], nil, 0
}
