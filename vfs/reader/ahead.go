package reader

import (
	"bufio"
	"cmp"
	"context"
	"slices"
	"sync"

	"github.com/walvfs/walvfs/format"
	"github.com/walvfs/walvfs/shipper/replica"
)

const (
	// connections is how many requests read ahead at once. A schema of 150 tables that are
	// far from each other takes two rounds of them, and with 16 it took ten.
	connections = 96

	// mostAhead is how far a connection reads ahead, in bytes of the database, and mostPages
	// in pages: a stream knows their parents.
	mostAhead = 8 << 20
	mostPages = 2048

	// aheadShare is the share of the cache that all connections read ahead at most. What
	// is read ahead so stays until it is read: the other pages are used longer ago.
	aheadShare = 3

	// mostGap and mostRange are of one request: so many bytes that are not wanted are read
	// between two frames, instead of making another request, and so many bytes at most: two
	// requests get the pages of 4 KiB that a scan asks for at once, of which there are mostRefill.
	mostGap   = 16 << 10
	mostRange = 1152 << 10

	// mostFollowing is how many bytes of a later file are read at once for a long scan.
	mostFollowing = 64 << 10

	// passShare is the share of the cache that a scan fills. What it reads after that is
	// kept for a moment, for other connections that go the same way, and pushes nothing out.
	passShare = 8
)

// window returns how many pages a connection may read ahead.
func (p *pages) window(v *view) int {
	n := p.cache.limit() / aheadShare / max(1, p.streams.Load())
	return int(min(mostPages, min(mostAhead, n)/int64(v.pageSize)))
}

// ahead fetches pages that will be wanted, in the background. Who wants one of them from
// now on waits for it, and makes no request. For a long scan, it fetches those that follow
// in later files as well.
func (p *pages) ahead(v *view, want []uint32, long bool) {
	var places []place
	var unknown []uint32
	for _, pgno := range want {
		if pgno == 0 || pgno > v.commit || pgno == format.LockPage(v.pageSize) {
			continue
		}
		if at, ok := v.known(pgno); ok {
			places = append(places, at)
		} else if v.base.windows != nil {
			unknown = append(unknown, pgno)
		}
	}
	if long {
		places = append(places, p.following(v, places)...)
	}
	p.start(places)
	if len(unknown) == 0 {
		return
	}
	byWindow := map[int64][]uint32{}
	for _, pgno := range unknown {
		n := v.base.windows.window(pgno)
		byWindow[n] = append(byWindow[n], pgno)
	}
	for _, pgnos := range byWindow {
		p.background.Go(func() { p.start(p.locate(v, pgnos)) })
	}
}

// following returns pages that a scan comes to after these, in later files: such a file has
// few pages of a window, and one request gets them for many windows.
func (p *pages) following(v *view, places []place) (more []place) {
	last := map[*file]place{} // that are to be fetched
	for _, at := range places {
		if at.file != v.base && at.entry.Offset >= last[at.file].entry.Offset && !p.fetched(at.key()) {
			last[at.file] = at
		}
	}
	for f, at := range last {
		for e := range f.index.From(at.entry.Number + 1) {
			if e.End()-at.entry.Offset > mostFollowing {
				break
			}
			if next, ok := v.known(e.Number); ok && next.file == f {
				more = append(more, next)
			}
		}
	}
	return more
}

// locate finds pages that a window of the index may have, as one request of those that
// read ahead. Who wants a page gets the error.
func (p *pages) locate(v *view, pgnos []uint32) (places []place) {
	select {
	case p.slots <- struct{}{}:
	case <-p.ctx.Done():
		return nil
	}
	defer func() { <-p.slots }()
	ctx, cancel := context.WithTimeout(p.ctx, p.timeout/2) // who waits can then try by itself
	defer cancel()
	for _, pgno := range pgnos {
		if at, err := v.find(ctx, pgno); err == nil {
			places = append(places, at)
		}
	}
	return places
}

// start makes the requests for pages, but for those that are there or on their way.
func (p *pages) start(places []place) {
	groups := p.plan(places)
	if len(groups) == 0 {
		return
	}
	p.background.Go(func() {
		for _, group := range groups {
			select {
			case p.slots <- struct{}{}:
			case <-p.ctx.Done():
				group.fail(p, p.ctx.Err())
				continue
			}
			p.background.Go(func() {
				defer func() { <-p.slots }()
				ctx, cancel := context.WithTimeout(p.ctx, p.timeout/2) // as in locate
				defer cancel()
				group.read(ctx, p)
			})
		}
	})
}

// A fetch is one frame that is to be read ahead.
type fetch struct {
	place
	call *call
	turn int // of all that are wanted
}

// A fetchRange is frames of one file that one request reads, by offset.
type fetchRange []fetch

// turn is when the first of the frames is wanted.
func (r fetchRange) turn() int {
	return slices.MinFunc(r, func(a, b fetch) int { return cmp.Compare(a.turn, b.turn) }).turn
}

// plan returns the requests for pages, those that are wanted first in front. A range of
// pages is mostly one run of bytes in each file that has some of them.
func (p *pages) plan(places []place) (groups []fetchRange) {
	var all fetchRange
	for i, at := range places {
		if p.cache.has(at.key()) {
			continue
		}
		if c, mine := p.begin(at.key()); mine {
			all = append(all, fetch{at, c, i})
		}
	}
	slices.SortFunc(all, func(a, b fetch) int {
		return cmp.Or(cmp.Compare(a.file.checksum, b.file.checksum), cmp.Compare(a.entry.Offset, b.entry.Offset))
	})
	for i, f := range all {
		if i > 0 {
			last := &groups[len(groups)-1]
			begin, end := (*last)[0], (*last)[len(*last)-1]
			if f.file == end.file && f.entry.Offset-end.entry.End() <= mostGap && f.entry.End()-begin.entry.Offset <= mostRange {
				*last = append(*last, f)
				continue
			}
		}
		groups = append(groups, fetchRange{f})
	}
	slices.SortStableFunc(groups, func(a, b fetchRange) int { return cmp.Compare(a.turn(), b.turn()) })
	return groups
}

// buffers are what ranges are read through.
var buffers = sync.Pool{New: func() any { return bufio.NewReaderSize(nil, 64<<10) }}

// read reads the frames of a range, and hands out each of them as soon as it is there.
func (r fetchRange) read(ctx context.Context, p *pages) {
	if len(r) == 1 { // which needs no buffer
		b, err := p.bytes(ctx, r[0].file, r[0].entry.Offset, r[0].entry.Size)
		p.end(r[0].key(), r[0].call, b, err)
		return
	}
	begin, end := r[0].entry.Offset, r[len(r)-1].entry.End()
	body, err := p.open(ctx, r[0].file, begin, end-begin)
	if err != nil {
		r.fail(p, err)
		return
	}
	defer body.Close()
	in := buffers.Get().(*bufio.Reader)
	defer buffers.Put(in)
	in.Reset(body)
	defer in.Reset(nil)
	for i, f := range r {
		frame := make([]byte, f.entry.Size)
		if _, err = in.Discard(int(f.entry.Offset - begin)); err == nil {
			err = replica.ReadFull(in, frame)
		}
		if err != nil {
			r[i:].fail(p, err)
			return
		}
		p.end(f.key(), f.call, frame, nil)
		begin = f.entry.End()
	}
}

// fail ends the fetch of all frames.
func (r fetchRange) fail(p *pages, err error) {
	for _, f := range r {
		p.end(f.key(), f.call, nil, err)
	}
}

// there decompresses a page of a view into b, which has the page's size, if no request is
// needed for it.
func (p *pages) there(v *view, pgno uint32, b []byte) bool {
	if pgno == 0 || pgno > v.commit {
		return false
	}
	at, ok := v.known(pgno)
	if !ok {
		return false
	}
	frame := p.cache.get(at.key())
	if frame == nil {
		return false
	}
	var d format.PageDecoder
	return p.replica.DecodePage(&d, at.file.info, at.entry, frame, b) == nil
}

// visit notes that a connection is going to read a page, and fetches those that it will
// want next.
func (c *conn) visit(pgno uint32) {
	p := &c.source.pages
	if c.seen != c.view.txid {
		c.seen, c.stream = c.view.txid, stream{}
	}
	want := c.stream.visit(pgno, p.window(c.view), func(pgno uint32) []byte {
		if p.there(c.view, pgno, c.page) {
			return c.page
		}
		return nil
	})
	p.ahead(c.view, want, len(want) >= longScan)
}

// pass notes that a page was read. Of a long scan, the cache does not keep it.
func (c *conn) pass(pgno uint32) {
	cache := &c.source.pages.cache
	read := int64(c.stream.scanned()) * int64(c.view.pageSize)
	if read == 0 || read <= cache.limit()/passShare {
		return
	}
	if at, ok := c.view.known(pgno); ok {
		cache.pass(at.key())
	}
}

// learn notes what a page says of others.
func (c *conn) learn(pgno uint32, page []byte) {
	c.source.pages.ahead(c.view, c.stream.learn(pgno, page), false)
}
