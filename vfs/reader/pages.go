package reader

import (
	"bytes"
	"context"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/walvfs/walvfs/format"
	"github.com/walvfs/walvfs/shipper/replica"
)

// pages fetches pages, each once for all connections that want it at the same time.
type pages struct {
	replica *replica.Replica
	timeout time.Duration
	cache   frames
	disk    *disk         // nil without a cache directory
	streams atomic.Int64  // connections, which share the space for reading ahead
	slots   chan struct{} // one for each request that reads ahead

	ctx        context.Context // done when the last connection is closed
	cancel     context.CancelFunc
	background sync.WaitGroup // work that does not depend on a waiting connection

	mu      sync.Mutex
	pending map[frameKey]*call
}

// A call is a running fetch of one frame.
type call struct {
	done chan struct{} // closed when b and err are set
	b    []byte
	err  error
}

// frame returns the frame of a page.
func (p *pages) frame(ctx context.Context, at place) ([]byte, error) {
	key := at.key()
	for {
		if b := p.cache.get(key); b != nil {
			return b, nil
		}
		c, mine := p.begin(key)
		if mine {
			b, err := p.bytes(ctx, at.file, at.entry.Offset, at.entry.Size)
			p.end(key, c, b, err)
			return b, err
		}
		select {
		case <-c.done:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
		if c.err == nil {
			return c.b, nil
		}
		// The other connection may have given up waiting: this connection tries by
		// itself.
	}
}

// bytes returns a range of a file, from the cache directory or from the replica.
func (p *pages) bytes(ctx context.Context, f *file, offset, length int64) ([]byte, error) {
	if p.disk == nil {
		return p.replica.Read(ctx, f.info, offset, length)
	}
	return p.disk.readFrom(ctx, p.replica, f, offset, length)
}

// open is bytes for a range that is read while it arrives.
func (p *pages) open(ctx context.Context, f *file, offset, length int64) (io.ReadCloser, error) {
	if p.disk == nil {
		return p.replica.Reader(ctx, f.info, offset, length), nil
	}
	b, err := p.disk.readFrom(ctx, p.replica, f, offset, length)
	return io.NopCloser(bytes.NewReader(b)), err
}

func (p *pages) begin(key frameKey) (c *call, mine bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if c := p.pending[key]; c != nil {
		return c, false
	}
	c = &call{done: make(chan struct{})}
	p.pending[key] = c
	return c, true
}

// fetched reports whether a frame is cached or being fetched.
func (p *pages) fetched(key frameKey) bool {
	p.mu.Lock()
	pending := p.pending[key] != nil
	p.mu.Unlock()
	return pending || p.cache.has(key)
}

func (p *pages) end(key frameKey, c *call, b []byte, err error) {
	c.b, c.err = b, err
	if err == nil {
		p.cache.put(key, b)
	}
	p.mu.Lock()
	delete(p.pending, key)
	p.mu.Unlock()
	close(c.done)
}

// read decompresses a page of a view into b, which has the page's size.
func (p *pages) read(ctx context.Context, v *view, pgno uint32, b []byte) error {
	if pgno == format.LockPage(v.pageSize) {
		clear(b)
		return nil
	}
	at, err := v.find(ctx, pgno)
	if err != nil {
		return err
	}
	for again := true; ; again = false {
		frame, err := p.frame(ctx, at)
		if err != nil {
			return err
		}
		var d format.PageDecoder
		if err = p.replica.DecodePage(&d, at.file.info, at.entry, frame, b); err == nil || !again {
			return err
		}
		p.cache.remove(at.key()) // it may have been damaged during the transfer
		if p.disk != nil {
			p.disk.forget(at.file, at.entry.Offset, at.entry.Size)
		}
	}
}

// seed caches pages of a file whose beginning was read.
func (p *pages) seed(f *file, entries []format.PageEntry, begin []byte) {
	for _, e := range entries {
		p.cache.put(place{f, e}.key(), bytes.Clone(begin[e.Offset:e.End()]))
	}
}
