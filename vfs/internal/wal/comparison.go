package wal

import (
	"fmt"
	"hash/maphash"
	"slices"
	"sync"
)

// A Comparison finds out at which boundary a database held the pages passed to Page:
// before the first frame of its WAL, or at one of the commits in it. Its methods are safe
// for concurrent use.
//
// A page with frames 3 and 7 had three contents. If Page is passed the second content, the
// boundary is at frame 3 to 6:
//
//	frame       0  1  2  3  4  5  6  7  8
//	content     ─ file ─ ─── 3 ───── ─ 7 ─
//	agree                +           -
//
// The database was at a boundary if all pages agree there.
type Comparison struct {
	print     *Fingerprint
	filePages uint32              // size of the database before the first frame
	first     int                 // the earliest boundary that counts
	frames    map[uint32][]uint32 // by page, ascending

	mu      sync.Mutex
	agree   []int32 // by frame: how many more pages agree from this frame on
	told    int32   // compared pages that have frames
	differs string  // why no boundary remains, "" if one may
}

// Compare begins a comparison with the boundaries from frame first to frame last.
// Boundary 0 is the database file, which has filePages pages.
func (f *Fingerprint) Compare(first, last, filePages uint32) *Comparison {
	last = min(last, uint32(len(f.frames)))
	c := &Comparison{print: f, filePages: filePages, first: int(first), frames: map[uint32][]uint32{}, agree: make([]int32, last+2)}
	for i, fr := range f.frames {
		c.frames[fr.page] = append(c.frames[fr.page], uint32(i+1))
	}
	return c
}

// boundaries yields the boundaries at which the database had a size.
func (c *Comparison) boundaries(pages uint32) func(yield func(frame int) bool) {
	return func(yield func(int) bool) {
		if c.first == 0 && c.filePages == pages && !yield(0) {
			return
		}
		for n := max(1, c.first); n < len(c.agree)-1; n++ {
			if c.print.frames[n-1].commit == pages && !yield(n) {
				return
			}
		}
	}
}

// Page compares the content of a page. It reports false as soon as no boundary remains.
func (c *Comparison) Page(pgno uint32, page []byte) bool {
	hash := maphash.Bytes(c.print.seed, page)
	frames := c.frames[pgno]
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.differs != "" {
		return false
	}
	agrees := c.print.fileHas(pgno, hash)
	if len(frames) == 0 {
		if !agrees {
			c.differ(pgno)
		}
		return agrees
	}
	agrees = agrees && !c.print.overwritten(pgno, frames)
	c.told++
	any := agrees
	c.note(agrees, 0, frames[0])
	for i, n := range frames {
		end := uint32(len(c.agree))
		if i+1 < len(frames) {
			end = frames[i+1]
		}
		agrees := c.print.frames[n-1].hash == hash
		any = any || agrees
		c.note(agrees, n, end)
	}
	if !any {
		c.differ(pgno)
	}
	return any
}

// note makes a page agree from a frame up to, but excluding, another frame.
func (c *Comparison) note(agrees bool, from, to uint32) {
	last := uint32(len(c.agree) - 1)
	if !agrees || from >= last {
		return
	}
	c.agree[from]++
	c.agree[min(to, last)]--
}

func (c *Comparison) differ(pgno uint32) {
	c.differs = fmt.Sprintf("page %d differs", pgno)
}

// Differs describes how the database differs from one with so many pages, all of which
// were compared; it returns "" if the database equaled it at some boundary.
func (c *Comparison) Differs(pages uint32) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.differs != "" {
		return c.differs
	}
	agree, next, sizes := int32(0), 0, 0
	for n := range c.boundaries(pages) {
		for sizes++; next <= n; next++ {
			agree += c.agree[next]
		}
		if agree == c.told {
			return ""
		}
	}
	if sizes == 0 {
		return fmt.Sprintf("the database did not have %d pages", pages)
	}
	return "it is not what the database was at any one commit in its WAL"
}

// overwritten reports whether a checkpoint may have copied the file's content of a page
// from one of its frames. After a recovery by SQLite, that is possible for all frames.
func (f *Fingerprint) overwritten(pgno uint32, frames []uint32) bool {
	return slices.ContainsFunc(frames, func(n uint32) bool {
		return n <= f.copied && f.fileHas(pgno, f.frames[n-1].hash)
	})
}

func (f *Fingerprint) fileHas(pgno uint32, hash uint64) bool {
	if int64(pgno) > int64(len(f.file)) {
		return f.zero == hash
	}
	return f.file[pgno-1] == hash
}
