package restore

import (
	"context"
	"io"
	"iter"
	"sync"

	"github.com/walvfs/walvfs/format"
)

// A file waits for its turn as chunks. Most files of a replica fit in one, so
// that they are there when they are asked for; a large one's download stands
// still, which the resumer copes with.
const (
	chunkSize = 256 << 10
	chunks    = 4
)

// prefetch yields a reader for each file, in order, while the next ones are
// downloaded: at most n at a time. The reader is valid until the next file.
func prefetch(ctx context.Context, files []format.FileInfo, n int, open func(context.Context, format.FileInfo) io.ReadCloser) iter.Seq2[format.FileInfo, *download] {
	return func(yield func(format.FileInfo, *download) bool) {
		ctx, cancel := context.WithCancel(ctx)
		var wg sync.WaitGroup
		defer wg.Wait()
		defer cancel()

		var ahead []*download
		for i, f := range files {
			for len(ahead) < n && i+len(ahead) < len(files) {
				next := files[i+len(ahead)]
				d := newDownload(ctx)
				wg.Go(func() { d.fill(open(ctx, next), next.Size) })
				ahead = append(ahead, d)
			}
			if !yield(f, ahead[0]) {
				return
			}
			ahead = ahead[1:]
		}
	}
}

// download carries an object's bytes from the goroutine that receives them.
type download struct {
	ctx    context.Context
	chunks chan chunk
	used   chan []byte // chunks that were read, for the next ones

	chunk []byte // that is being read
	rest  []byte // of it
	err   error  // that ended the download, after rest
	n     int64  // bytes read

	broken error // that Read returned, other than io.EOF
}

type chunk struct {
	data []byte
	err  error
}

func newDownload(ctx context.Context) *download {
	return &download{ctx: ctx, chunks: make(chan chunk, chunks), used: make(chan []byte, chunks)}
}

// fill reads the object until it ends or nobody wants it any more.
func (d *download) fill(r io.ReadCloser, size int64) {
	defer r.Close()
	for {
		buf := d.buffer(size)
		n, err := readFull(r, buf)
		size -= int64(n)
		select {
		case d.chunks <- chunk{buf[:n], err}:
		case <-d.ctx.Done():
			return
		}
		if err != nil {
			return
		}
	}
}

// buffer returns one for a chunk, of which size bytes are expected.
func (d *download) buffer(size int64) []byte {
	select {
	case buf := <-d.used:
		return buf[:cap(buf)]
	default:
		return make([]byte, min(max(size, 1), chunkSize))
	}
}

// recycle gives the chunk back that was read.
func (d *download) recycle() {
	if d.chunk == nil {
		return
	}
	select {
	case d.used <- d.chunk:
	default: // there are enough
	}
	d.chunk = nil
}

// readFull is [io.ReadFull] that leaves errors alone.
func readFull(r io.Reader, p []byte) (n int, err error) {
	for n < len(p) && err == nil {
		var m int
		m, err = r.Read(p[n:])
		n += m
	}
	return n, err
}

func (d *download) Read(p []byte) (int, error) {
	for len(d.rest) == 0 {
		if d.err == io.EOF {
			return 0, io.EOF
		}
		if d.err != nil {
			d.broken = d.err
			return 0, d.err
		}
		d.recycle()
		select {
		case c := <-d.chunks:
			d.chunk, d.rest, d.err = c.data, c.data, c.err
		case <-d.ctx.Done():
			d.err = context.Cause(d.ctx)
		}
	}
	n := copy(p, d.rest)
	d.rest = d.rest[n:]
	d.n += int64(n)
	return n, nil
}
