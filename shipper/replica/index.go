package replica

import (
	"context"
	"encoding/binary"
	"fmt"
	"iter"
	"math"
	"sort"

	"github.com/walvfs/walvfs/format"
)

// indexTail is the bytes of a file's end that are read at once: most page indexes fit.
const indexTail = 16 << 10

// Index reads where a file's pages are. It makes one request for most indexes, and at
// most two.
func (r *Replica) Index(ctx context.Context, f format.FileInfo) (*Index, error) {
	at := max(0, f.Size-indexTail)
	tail, err := r.Read(ctx, f, at, f.Size-at)
	if err != nil {
		return nil, err
	}
	return r.IndexWith(ctx, f, tail)
}

// IndexWith is [Replica.Index] for a caller that has read the file's last bytes, at least
// [format.PageIndexTail]: it reads only the missing bytes.
func (r *Replica) IndexWith(ctx context.Context, f format.FileInfo, tail []byte) (*Index, error) {
	at := f.Size - int64(len(tail))
	offset, size, err := r.IndexRange(f, tail)
	if err != nil {
		return nil, err
	}
	var x indexBuilder
	if missing := min(size, at-offset); missing > 0 {
		if err := r.readIndex(ctx, f, offset, missing, &x); err != nil {
			return nil, err
		}
	}
	if err := x.feed(tail[max(0, offset-at) : offset+size-at]); err != nil {
		return nil, r.FileError(f, err)
	}
	index, err := x.end(offset)
	return index, r.FileError(f, err)
}

// readIndex reads a part of an index as its bytes arrive.
func (r *Replica) readIndex(ctx context.Context, f format.FileInfo, offset, length int64, x *indexBuilder) error {
	body := r.Reader(ctx, f, offset, length)
	defer body.Close()
	b := make([]byte, 64<<10)
	for length > 0 {
		n := min(length, int64(len(b)))
		if err := ReadFull(body, b[:n]); err != nil {
			return err
		}
		if err := x.feed(b[:n]); err != nil {
			return r.FileError(f, err)
		}
		length -= n
	}
	return nil
}

// IndexRange reports where a file's page index is, in bytes from the file's beginning.
// The tail is the last bytes of the file, [format.PageIndexTail] or more.
func (r *Replica) IndexRange(f format.FileInfo, tail []byte) (offset, size int64, err error) {
	if len(tail) < format.PageIndexTail {
		return 0, 0, r.FileError(f, fmt.Errorf("%w: it has %d bytes", format.ErrCorrupt, f.Size))
	}
	if size, err = format.PageIndexSize(tail[len(tail)-format.PageIndexTail:], f.Size); err != nil {
		return 0, 0, r.FileError(f, err)
	}
	return f.Size - format.PageIndexTail - size, size, nil
}

// Page reads one page of a file, which has the file's page size, at the position from an
// index. It checks that the bytes are that page's frame, which repeats its number. Only
// the file's own checksum, over all its pages, proves the content.
func (r *Replica) Page(ctx context.Context, f format.FileInfo, e format.PageEntry, page []byte) error {
	b, err := r.Read(ctx, f, e.Offset, e.Size)
	if err != nil {
		return err
	}
	var d format.PageDecoder
	return r.DecodePage(&d, f, e, b, page)
}

// DecodePage decompresses a page from the bytes of the file at the page's index entry, as
// [Replica.Page] does.
func (r *Replica) DecodePage(d *format.PageDecoder, f format.FileInfo, e format.PageEntry, frame, page []byte) error {
	found, err := format.CutPageFrame(frame, uint32(len(page)))
	if err != nil {
		return r.FileError(f, err)
	}
	if found.Number != e.Number || int64(found.Size()) != e.Size {
		return r.FileError(f, fmt.Errorf("%w: page %d of %d bytes is at offset %d, and not page %d of %d",
			format.ErrCorrupt, found.Number, found.Size(), e.Offset, e.Number, e.Size))
	}
	return r.FileError(f, d.Decode(found, page, nil))
}

// An Index says where the pages of a file are. It takes about 3.5 bytes of memory for
// each page of a snapshot. It does not change.
type Index struct {
	anchors []anchor // one for each run of pages
	runs    []byte   // for each page: the step from the number before, and the size, as varints
	count   int
}

// anchor is the position where a run of anchorEvery pages begins.
type anchor struct {
	first format.PageEntry
	at    int // in runs: position of the page after the first
}

const anchorEvery = 64 // pages

// Len returns how many pages the file has.
func (x *Index) Len() int { return x.count }

// Find returns where a page is, if the file has it.
func (x *Index) Find(pgno uint32) (format.PageEntry, bool) {
	i := sort.Search(len(x.anchors), func(i int) bool { return x.anchors[i].first.Number > pgno }) - 1
	if i < 0 {
		return format.PageEntry{}, false
	}
	for e := range x.run(i) {
		if e.Number >= pgno {
			return e, e.Number == pgno
		}
	}
	return format.PageEntry{}, false
}

// From yields the pages from a number onwards, ascending.
func (x *Index) From(pgno uint32) iter.Seq[format.PageEntry] {
	return func(yield func(format.PageEntry) bool) {
		i := sort.Search(len(x.anchors), func(i int) bool { return x.anchors[i].first.Number > pgno }) - 1
		for i = max(i, 0); i < len(x.anchors); i++ {
			for e := range x.run(i) {
				if e.Number >= pgno && !yield(e) {
					return
				}
			}
		}
	}
}

// All yields all pages, ascending.
func (x *Index) All() iter.Seq[format.PageEntry] { return x.From(0) }

// run yields the pages of one run.
func (x *Index) run(i int) iter.Seq[format.PageEntry] {
	return func(yield func(format.PageEntry) bool) {
		e, at, end := x.anchors[i].first, x.anchors[i].at, len(x.runs)
		if i+1 < len(x.anchors) {
			end = x.anchors[i+1].at
		}
		for yield(e) && at < end {
			step, n := binary.Uvarint(x.runs[at:])
			size, m := binary.Uvarint(x.runs[at+n:])
			at += n + m
			e = format.PageEntry{Number: e.Number + uint32(step), Offset: e.End(), Size: int64(size)}
		}
	}
}

// indexBuilder builds an Index from bytes as they arrive.
type indexBuilder struct {
	parser format.PageIndexParser
	left   []byte // unused bytes of the last piece
	index  Index
	last   format.PageEntry
}

func (x *indexBuilder) feed(b []byte) error {
	if len(x.left) > 0 {
		b = append(x.left, b...)
	}
	n, err := x.parser.Feed(b, x.add)
	x.left = append([]byte(nil), b[n:]...) // at most one entry, or bytes that are an error
	return err
}

func (x *indexBuilder) add(e format.PageEntry) {
	if x.index.count%anchorEvery == 0 {
		x.index.anchors = append(x.index.anchors, anchor{e, len(x.index.runs)})
	} else {
		x.index.runs = binary.AppendUvarint(x.index.runs, uint64(e.Number-x.last.Number))
		x.index.runs = binary.AppendUvarint(x.index.runs, uint64(e.Size))
	}
	x.index.count++
	x.last = e
}

// end returns the index of a file in which the index begins at an offset: the pages end
// six zeros before it.
func (x *indexBuilder) end(offset int64) (*Index, error) {
	switch {
	case !x.parser.Ended() || len(x.left) > 0:
		return nil, fmt.Errorf("%w: the page index does not end where it should", format.ErrCorrupt)
	case offset > math.MaxInt64-format.PageEndSize || max(x.last.End(), format.LTXHeaderSize)+format.PageEndSize != offset:
		return nil, fmt.Errorf("%w: the page index does not begin where the pages end", format.ErrCorrupt)
	}
	return &x.index, nil
}
