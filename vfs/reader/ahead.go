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
	// connections is how many requests read ahead at once. A schema of 150 scattered
	// tables takes two rounds of them; with 16 it took ten.
	connections = 96

	// mostAhead is how far a connection reads ahead, in bytes of the database, and
	// mostPages in pages: a stream knows their parents.
	mostAhead = 8 << 20
	mostPages = 2048

	// aheadShare is the share of the cache that all connections together read ahead at
	// most. So the cache keeps these pages until they are read: all other pages were used
	// earlier.
	aheadShare = 3

	// mostGap and mostRange bound one request. It reads up to mostGap unwanted bytes
	// between two frames, instead of making another request, and up to mostRange bytes in
	// total. Two requests get the mostRefill pages of 4 KiB that a scan asks for at once.
	mostGap   = 16 << 10
	mostRange = 1152 << 10

	// mostFollowing is how many bytes of a later file one request reads for a long scan.
	mostFollowing = 64 << 10

	// passShare is the share of the cache that a scan fills. The cache keeps later pages
	// of the scan for a moment, for other connections on the same scan, and drops no
	// other pages for them.
	passShare = 8
)

// window returns how many pages a connection may read ahead.
func (p *pages) window(v *view) int {
	n := p.cache.limit() / aheadShare / max(1, p.streams.Load())
	return int(min(mostPages, min(mostAhead, n)/int64(v.pageSize)))
}

// ahead fetches pages in the background. A connection that wants one of them from now on
// waits for it, and makes no request. For a long scan, ahead also fetches the following
// pages in later files.
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

// following returns pages in later files that a scan reaches after the given pages. Such
// a file has few pages of a window, and one request gets its pages for many windows.
func (p *pages) following(v *view, places []place) (more []place) {
	last := map[*file]place{} // the last page to fetch of each file
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

// locate finds pages that one window of the index may have, in a slot for reading ahead.
// A connection that reads a page gets the error.
func (p *pages) locate(v *view, pgnos []uint32) (places []place) {
	select {
	case p.slots <- struct{}{}:
	case <-p.ctx.Done():
		return nil
	}
	defer func() { <-p.slots }()
	ctx, cancel := context.WithTimeout(p.ctx, p.timeout/2) // a waiting connection then has time to try by itself
	defer cancel()
	for _, pgno := range pgnos {
		if at, err := v.find(ctx, pgno); err == nil {
			places = append(places, at)
		}
	}
	return places
}

// start requests pages that are neither cached nor being fetched.
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

// A fetch is one frame to read ahead.
type fetch struct {
	place
	call *call
	turn int // position among all wanted frames
}

// A fetchRange lists the frames of one file that one request reads, by offset.
type fetchRange []fetch

// turn returns the smallest turn of the frames.
func (r fetchRange) turn() int {
	return slices.MinFunc(r, func(a, b fetch) int { return cmp.Compare(a.turn, b.turn) }).turn
}

// plan returns the requests for pages, ordered by when the pages are wanted. A range of
// pages is usually one run of bytes in each file that has some of them.
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

// buffers are buffers to read ranges.
var buffers = sync.Pool{New: func() any { return bufio.NewReaderSize(nil, 64<<10) }}

// read reads the frames of a range, and hands out each frame as soon as it arrives.
func (r fetchRange) read(ctx context.Context, p *pages) {
	if len(r) == 1 { // one frame needs no buffer
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

// there decompresses a page of a view into b, which has the page's size, if that takes no
// request.
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

// visit records that a connection is about to read a page, and fetches the pages that it
// will probably read next.
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

// pass records that a page was read. The cache does not keep pages of a long scan.
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

// learn fetches the pages that the stream wants after a page.
func (c *conn) learn(pgno uint32, page []byte) {
	c.source.pages.ahead(c.view, c.stream.learn(pgno, page), false)
}
