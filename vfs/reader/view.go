package reader

import (
	"context"
	"fmt"
	"slices"
	"sort"
	"time"

	"github.com/walvfs/walvfs/format"
)

// A view is the database at one TXID: its size, and where each of its pages is. It does
// not change, and all connections share it.
//
// The base holds the whole database at an older TXID. Each layer holds what changed since
// the layer below it:
//
//	base      every page
//	layer 1   pages of some files      a page is in the newest layer that has it,
//	layer 2   pages of later files     but not below a layer whose database ended before it
type view struct {
	txid     format.TXID
	time     time.Time // of the TXID, as its writer recorded it
	pageSize uint32    // bytes
	commit   uint32    // size in pages
	base     *file
	layers   []layer // oldest first
	files    []*file // all files of the view, the base first

	raw format.FileInfo // the level 0 file that ends at txid, zero if it is unknown
}

// A place is a page's file and index entry.
type place struct {
	file  *file
	entry format.PageEntry
}

// newView returns the view of a base alone.
func newView(base *file) *view {
	v := &view{base: base, files: []*file{base}}
	v.end(base)
	return v
}

// end sets the fields that come from the last file.
func (v *view) end(f *file) {
	h := f.header
	v.txid, v.time, v.pageSize, v.commit = h.MaxTXID, time.UnixMilli(h.Timestamp), h.PageSize, h.Commit
	v.raw = format.FileInfo{}
	if f.info.Level == format.LevelRaw {
		v.raw = f.info
	}
}

// with returns the view after one more file of the same page size.
func (v *view) with(f *file) *view {
	next := *v
	next.end(f)
	next.files = append(slices.Clip(v.files), f)
	next.layers = append(slices.Clone(v.layers), newLayer(f))
	for n := len(next.layers); n > 1 && next.layers[n-2].mergeable(next.layers[n-1]); n-- {
		next.layers = append(next.layers[:n-2], next.layers[n-2].merge(next.layers[n-1]))
	}
	return &next
}

// find returns where a page is. The database must have the page.
func (v *view) find(ctx context.Context, pgno uint32) (place, error) {
	at, ok, below := v.above(pgno)
	if ok {
		return at, nil
	}
	if !below {
		return place{}, v.lacks(pgno)
	}
	e, ok, err := v.base.find(ctx, pgno)
	if err == nil && !ok {
		err = v.lacks(pgno)
	}
	return place{v.base, e}, err
}

// known returns where a page is, if that takes no request.
func (v *view) known(pgno uint32) (place, bool) {
	at, ok, below := v.above(pgno)
	if ok || !below {
		return at, ok
	}
	e, ok := v.base.known(pgno)
	return place{v.base, e}, ok
}

// above returns where a page is, if a layer has it. If not, below reports whether the
// base's page is that of the database.
func (v *view) above(pgno uint32) (at place, ok, below bool) {
	for _, l := range slices.Backward(v.layers) {
		if at, ok := l.find(pgno); ok {
			return at, true, false
		}
		if pgno > l.least {
			return place{}, false, false
		}
	}
	return place{}, false, pgno <= v.base.header.Commit
}

func (v *view) lacks(pgno uint32) error {
	return fmt.Errorf("%w: page %d of TXID %s is in no file", format.ErrCorrupt, pgno, v.txid)
}

// A layer records where the pages of some consecutive files are.
type layer struct {
	pages []pageAt // ascending, each page once
	large *file    // one file with many pages, which stay in its index; pages is then nil
	least uint32   // the smallest size of the database after any of the files, in pages
}

type pageAt struct {
	number, size uint32
	offset       int64
	file         *file
}

// largeLayer is the number of pages from which on a file has its own layer: an index
// takes a tenth of the memory of a merged layer.
const largeLayer = 1 << 16

func newLayer(f *file) layer {
	l := layer{least: f.header.Commit}
	if f.index.Len() >= largeLayer {
		l.large = f
		return l
	}
	l.pages = make([]pageAt, 0, f.index.Len())
	for e := range f.index.All() {
		l.pages = append(l.pages, pageAt{e.Number, uint32(e.Size), e.Offset, f})
	}
	return l
}

func (l layer) find(pgno uint32) (place, bool) {
	if l.large != nil {
		e, ok := l.large.index.Find(pgno)
		return place{l.large, e}, ok
	}
	i := sort.Search(len(l.pages), func(i int) bool { return l.pages[i].number >= pgno })
	if i == len(l.pages) || l.pages[i].number != pgno {
		return place{}, false
	}
	p := l.pages[i]
	return place{p.file, format.PageEntry{Number: p.number, Offset: p.offset, Size: int64(p.size)}}, true
}

// mergeable reports whether the next layer is large enough for merging to pay. So the
// number of layers is at most the logarithm of the number of pages.
func (l layer) mergeable(next layer) bool {
	return l.large == nil && next.large == nil && len(l.pages) <= 2*len(next.pages)
}

// merge returns a layer that replaces two. It drops pages of the older layer that were
// cut off in between: if the database has such a page again, a later file has it.
func (l layer) merge(next layer) layer {
	m := layer{pages: make([]pageAt, 0, len(l.pages)+len(next.pages)), least: min(l.least, next.least)}
	old := l.pages[:sort.Search(len(l.pages), func(i int) bool { return l.pages[i].number > next.least })]
	for _, p := range next.pages {
		for len(old) > 0 && old[0].number < p.number {
			m.pages, old = append(m.pages, old[0]), old[1:]
		}
		if len(old) > 0 && old[0].number == p.number {
			old = old[1:]
		}
		m.pages = append(m.pages, p)
	}
	m.pages = append(m.pages, old...)
	return m
}
