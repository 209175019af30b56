package restore

import (
	"context"
	"fmt"
	"io"
	"sync/atomic"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sync/semaphore"

	"github.com/walvfs/walvfs/format"
	"github.com/walvfs/walvfs/shipper/replica"
)

const (
	// pieceSize is the size of one request. Stores limit the throughput of one connection,
	// so a snapshot is fetched over many; smaller pieces would wait for more round trips.
	pieceSize = 4 << 20

	// inFlight bounds the bytes that are requested and not applied yet. At a round trip of
	// 100 ms, it allows 600 MB/s. The garbage collector lets memory grow to about double.
	inFlight = 64 << 20
)

// piece is a range of a file of the plan.
type piece struct {
	file   int // in the plan
	offset int64
	size   int64
	last   bool // of the file

	ready chan struct{} // closed when buf holds the bytes
	buf   []byte        // room for carried bytes, then the range
	users atomic.Int32  // the splitter and the batches that still read it
	free  func()        // called by the last user
}

// data returns the piece's bytes after the bytes left over from the piece before.
func (p *piece) data(carried []byte) []byte {
	b := p.buf[len(p.buf)-int(p.size)-len(carried):]
	copy(b, carried)
	return b
}

func (p *piece) retain() { p.users.Add(1) }

func (p *piece) release() {
	if p.users.Add(-1) == 0 {
		p.free()
	}
}

// fetcher downloads the files of a plan, starting with the newest.
type fetcher struct {
	files  []format.FileInfo
	most   int64 // largest size of a piece, in bytes
	open   func(context.Context, *piece) io.ReadCloser
	fail   func(i int, err error) error // names a file in an error
	budget *semaphore.Weighted          // bytes in flight
	slots  chan struct{}                // concurrent requests
	pieces chan *piece                  // in order, possibly not ready yet
	spare  chan []byte                  // buffers for whole pieces
}

func newFetcher(files []format.FileInfo, opts Options, open func(context.Context, *piece) io.ReadCloser, fail func(int, error) error) *fetcher {
	most, room := int64(pieceSize), int64(inFlight)
	if opts.hooks.Piece > 0 {
		most, room = opts.hooks.Piece, inFlight/pieceSize*opts.hooks.Piece
	}
	return &fetcher{
		files:  files,
		most:   most,
		open:   open,
		fail:   fail,
		budget: semaphore.NewWeighted(room),
		slots:  make(chan struct{}, opts.Parallelism),
		pieces: make(chan *piece, 2*opts.Parallelism),
		spare:  make(chan []byte, room/most),
	}
}

// run requests each piece as soon as there is room for it. Pieces get room in the order
// in which they are applied: a piece that waits for its turn never blocks that turn.
func (f *fetcher) run(ctx context.Context, g *errgroup.Group) error {
	defer close(f.pieces)
	for i := len(f.files) - 1; i >= 0; i-- {
		for offset, last := int64(0), false; !last; offset += f.most {
			rest := f.files[i].Size - offset
			last = rest <= f.most
			p := &piece{file: i, offset: offset, size: min(rest, f.most), last: last, ready: make(chan struct{})}
			if err := f.admit(ctx, p); err != nil {
				return err
			}
			g.Go(func() error {
				if err := f.fetch(ctx, p); err != nil {
					return f.fail(i, err)
				}
				return nil
			})
		}
	}
	return nil
}

// admit waits until there is room for a piece.
func (f *fetcher) admit(ctx context.Context, p *piece) error {
	if err := f.budget.Acquire(ctx, p.size); err != nil {
		return err
	}
	p.users.Store(1)
	p.free = func() {
		f.recycle(p.buf)
		f.budget.Release(p.size)
	}
	select {
	case f.slots <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	select {
	case f.pieces <- p:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (f *fetcher) fetch(ctx context.Context, p *piece) error {
	defer func() { <-f.slots }()
	r := f.open(ctx, p)
	defer r.Close()
	p.buf = f.buffer(p)
	if err := replica.ReadFull(r, p.data(nil)); err != nil {
		return err
	}
	if p.last {
		if err := expectEnd(r, p); err != nil {
			return err
		}
	}
	close(p.ready)
	return nil
}

func expectEnd(r io.Reader, p *piece) error {
	n, err := r.Read(make([]byte, 1))
	switch {
	case n > 0:
		return fmt.Errorf("%w: it goes on after the %d bytes of its listing", format.ErrCorrupt, p.offset+p.size)
	case err != io.EOF:
		return err
	}
	return nil
}

// buffer returns a buffer for a piece. Most files of a replica are small, and a file's
// first piece has no carried bytes.
func (f *fetcher) buffer(p *piece) []byte {
	if p.offset == 0 && p.last {
		return make([]byte, p.size)
	}
	n := format.MaxPageFrame + int(p.size)
	select {
	case b := <-f.spare:
		return b[:n]
	default:
		return make([]byte, n, format.MaxPageFrame+int(f.most))
	}
}

func (f *fetcher) recycle(b []byte) {
	if cap(b) != format.MaxPageFrame+int(f.most) {
		return
	}
	select {
	case f.spare <- b:
	default:
	}
}
