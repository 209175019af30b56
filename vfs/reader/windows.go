package reader

import (
	"context"
	"encoding/binary"
	"fmt"
	"slices"
	"sort"
	"sync"

	"github.com/walvfs/walvfs/format"
)

// windows finds pages in the index of a whole database without reading all of the index:
// at 10 bytes a page, 10 GiB have an index of 25 MB. An index entry is three varints: the
// page's number, its offset and its size. Every page but the lock page has an entry. So
// the position of an entry can be computed, except for the lengths of the sizes before
// it. windows reads the window of the index around this position, and its entries become
// a run. Runs bound the positions of the pages between them.
type windows struct {
	read  func(ctx context.Context, at, length int64) ([]byte, error) // bytes of the index
	size  int64                                                       // of the index in bytes, including the zero that ends it
	pages uint32                                                      // size of the database
	lock  uint32                                                      // the lock page
	end   int64                                                       // where the frames end in the file

	mu   sync.Mutex
	runs []*run // ascending; the first run begins with page 1
	age  []*run // all but the first run, in the order in which they were read

	reading map[span]chan struct{} // windows being read; the channel is closed at the end
}

const (
	// windowSize is how many bytes of an index are read at once, without the margins.
	windowSize = 64 << 10

	// windowMargin is how many bytes are also read before and after a window, because
	// computed positions are slightly wrong: with windows of 8 KiB, one in three missed
	// its page.
	windowMargin = 16 << 10

	// mostRuns bounds the memory of runs: 40 KiB each.
	mostRuns = 256

	// tries is how often find computes a position before it halves the rest until it
	// finds the page.
	tries = 4
)

// A run is a sequence of consecutive entries of the index.
type run struct {
	first  uint32   // number of the first page
	last   uint32   // number of the last page
	offset int64    // of the first page's frame, in the file
	ends   []uint32 // of each page: where its frame ends, from offset on
	at, to int64    // where the entries begin and end in the index
}

// find returns where a page is. It reads a window if necessary.
func (w *windows) find(ctx context.Context, pgno uint32) (e format.PageEntry, ok bool, err error) {
	if pgno == 0 || pgno > w.pages || pgno == w.lock {
		return e, false, nil
	}
	for n := 0; ; n++ {
		e, low, high := w.look(pgno)
		if e.Size > 0 {
			return e, true, nil
		}
		if n > 64 { // halving has closed every gap by then
			return e, false, w.corrupt("page %d cannot be found", pgno)
		}
		if low.at >= high.at || low.offset >= high.offset {
			return e, false, w.corrupt("it has no room for page %d", pgno)
		}
		at := low.estimate(high, pgno)
		if n >= tries {
			at = (low.at + high.at) / 2
		}
		if err := w.readOnce(ctx, windowOf(at, low, high), low, high); err != nil {
			return e, false, err
		}
	}
}

// window returns the number of the window in which an unknown page is expected.
func (w *windows) window(pgno uint32) int64 {
	_, low, high := w.look(pgno)
	return low.estimate(high, pgno) / windowSize
}

// A span is a part of the index, in bytes.
type span struct{ begin, end int64 }

// windowOf returns the part between two bounds of the window around a position.
func windowOf(at int64, low, high bound) span {
	at = at / windowSize * windowSize
	return span{max(low.at, at-windowMargin), min(high.at, at+windowSize+windowMargin)}
}

// readOnce reads a window, or waits until another connection has read it. The page may
// still be unknown then.
func (w *windows) readOnce(ctx context.Context, s span, low, high bound) error {
	w.mu.Lock()
	done := w.reading[s]
	if done != nil {
		w.mu.Unlock()
		select {
		case <-done:
			return nil
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	if w.reading == nil {
		w.reading = map[span]chan struct{}{}
	}
	done = make(chan struct{})
	w.reading[s] = done
	w.mu.Unlock()
	r, err := w.fetch(ctx, s, low, high)
	if err == nil {
		w.add(r)
	}
	w.mu.Lock()
	delete(w.reading, s)
	w.mu.Unlock()
	close(done)
	return err
}

// known returns where a page is, if no window must be read.
func (w *windows) known(pgno uint32) (format.PageEntry, bool) {
	e, _, _ := w.look(pgno)
	return e, e.Size > 0
}

// A bound is a known position in the index: where the entry of a page begins.
type bound struct {
	page   uint32
	at     int64 // in the index
	offset int64 // of the page's frame, in the file
}

// look returns the entry of a page, or the bounds before and after it.
func (w *windows) look(pgno uint32) (e format.PageEntry, low, high bound) {
	w.mu.Lock()
	defer w.mu.Unlock()
	low = bound{w.next(0), 0, format.LTXHeaderSize}
	high = bound{w.pages + 1, w.size - 1, w.end}
	i := sort.Search(len(w.runs), func(i int) bool { return w.runs[i].first > pgno })
	if i < len(w.runs) {
		r := w.runs[i]
		high = bound{r.first, r.at, r.offset}
	}
	if i == 0 {
		return e, low, high
	}
	r := w.runs[i-1]
	if pgno <= r.last {
		return r.entry(w.steps(r.first, pgno), pgno), low, high
	}
	return e, bound{w.next(r.last), r.to, r.offset + int64(r.ends[len(r.ends)-1])}, high
}

// entry returns the i-th entry of a run, for page pgno.
func (r *run) entry(i uint32, pgno uint32) format.PageEntry {
	begin := uint32(0)
	if i > 0 {
		begin = r.ends[i-1]
	}
	return format.PageEntry{Number: pgno, Offset: r.offset + int64(begin), Size: int64(r.ends[i] - begin)}
}

// next returns the next page in an index.
func (w *windows) next(pgno uint32) uint32 {
	if pgno+1 == w.lock {
		return pgno + 2
	}
	return pgno + 1
}

// steps counts the entries from one page to a later one.
func (w *windows) steps(from, to uint32) uint32 {
	if from < w.lock && w.lock < to {
		return to - from - 1
	}
	return to - from
}

func (w *windows) add(r *run) {
	w.mu.Lock()
	defer w.mu.Unlock()
	i := sort.Search(len(w.runs), func(i int) bool { return w.runs[i].first > r.first })
	if i > 0 && w.runs[i-1].last >= r.last {
		return // another connection has read the same entries
	}
	w.runs = slices.Insert(w.runs, i, r)
	if i == 0 {
		return
	}
	if w.age = append(w.age, r); len(w.age) > mostRuns {
		old := w.age[0]
		w.age = w.age[1:]
		w.runs = slices.DeleteFunc(w.runs, func(r *run) bool { return r == old })
	}
}

// fetch reads a window between two bounds.
func (w *windows) fetch(ctx context.Context, s span, low, high bound) (*run, error) {
	b, err := w.read(ctx, s.begin, s.end-s.begin)
	if err != nil {
		return nil, err
	}
	r := &run{at: s.begin}
	if s.begin == low.at {
		w.parse(r, b, low.page, low.offset)
	} else {
		w.resync(r, b, low, high)
	}
	switch {
	case len(r.ends) == 0:
		return nil, w.corrupt("between pages %d and %d it has no entries that follow each other", low.page, high.page)
	case r.first < low.page || r.last >= high.page || r.offset+int64(r.ends[len(r.ends)-1]) > high.offset:
		return nil, w.corrupt("pages %d to %d are where there should be some from %d to %d", r.first, r.last, low.page, high.page-1)
	case s.end == high.at && w.next(r.last) != high.page && high.page <= w.pages:
		return nil, w.corrupt("page %d comes after page %d", high.page, r.last)
	}
	return r, nil
}

// resync finds the first entry in a window that may begin inside an entry. Entries of
// several consecutive pages must follow it, each frame beginning where the previous frame
// ends: of millions of positions inside entries of real indexes, none passed even two
// such steps. The first entry may have lost its beginning and is left out.
func (w *windows) resync(r *run, b []byte, low, high bound) {
	const proof = 4 // entries
	begin := r.at
	for i := range min(len(b), 64) { // an entry has at most 20 bytes
		first, n := format.CutPageEntry(b[i:])
		if n <= 0 || first.Number < low.page || first.Number >= high.page {
			continue
		}
		r.at = begin + int64(i+n)
		w.parse(r, b[i+n:], w.next(first.Number), first.End())
		if len(r.ends) >= proof {
			return
		}
		*r = run{}
	}
}

// parse makes a run of the entries at the beginning of b. The first entry must be that of
// the given page, at the given offset.
func (w *windows) parse(r *run, b []byte, page uint32, offset int64) {
	r.first, r.offset, r.to = page, offset, r.at
	free := offset
	for len(b) > 0 {
		e, n := format.CutPageEntry(b)
		if n <= 0 || e.Number != page || e.Offset != free || e.Number > w.pages || e.End() > w.end {
			return
		}
		r.ends = append(r.ends, uint32(e.End()-offset))
		r.last, r.to = page, r.to+int64(n)
		b, page, free = b[n:], w.next(page), e.End()
	}
}

// head makes a run of the frames at the beginning of the file, whose entries need not be
// read.
func (w *windows) head(entries []format.PageEntry) {
	if len(entries) == 0 {
		return
	}
	r := &run{first: entries[0].Number, offset: entries[0].Offset}
	var b []byte
	for _, e := range entries {
		r.ends = append(r.ends, uint32(e.End()-r.offset))
		r.last = e.Number
		for _, v := range []uint64{uint64(e.Number), uint64(e.Offset), uint64(e.Size)} {
			b = binary.AppendUvarint(b[:0], v)
			r.to += int64(len(b))
		}
	}
	w.add(r)
}

// estimate computes where the entry of a page is, between two bounds. The lengths of the
// numbers and, nearly, of the offsets are known; sizes have the same average length
// everywhere.
func (low bound) estimate(high bound, pgno uint32) int64 {
	share := low.bytes(high, pgno) / low.bytes(high, high.page)
	return low.at + int64(share*float64(high.at-low.at))
}

// bytes returns the approximate length of the entries from a bound to a page.
func (low bound) bytes(high bound, pgno uint32) float64 {
	from, to := float64(low.page), float64(pgno)
	perPage := float64(high.offset-low.offset) / float64(high.page-low.page)
	n := (to - from) * 4 // one byte each of number and offset, and the size
	for limit := float64(128); limit < 1<<60; limit *= 128 {
		crossing := from + (limit-float64(low.offset))/perPage
		n += max(0, to-max(from, limit)) + max(0, to-max(from, crossing))
	}
	return n
}

func (w *windows) corrupt(what string, args ...any) error {
	return fmt.Errorf("%w: page index: %s", format.ErrCorrupt, fmt.Sprintf(what, args...))
}
