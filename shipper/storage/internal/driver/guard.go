// Package driver holds code that the storage drivers share.
package driver

import (
	"context"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/walvfs/walvfs/shipper/storage"
)

// Patience is how long an operation may go without transferring a byte or getting an
// answer. It replaces a limit on the whole operation, which would have to be both long
// enough for a large snapshot over a slow line and short enough to notice a dead peer.
const Patience = 2 * time.Minute

// A Guard cancels an operation's context when it stops making progress.
type Guard struct {
	ctx      context.Context
	cancel   context.CancelCauseFunc
	timer    *time.Timer
	patience time.Duration
}

type stalled time.Duration

func (s stalled) Error() string {
	return fmt.Sprintf("no progress for %s", time.Duration(s))
}

// NewGuard guards an operation. [Guard.Stop] releases it.
func NewGuard(ctx context.Context, patience time.Duration) *Guard {
	g := &Guard{patience: patience}
	g.ctx, g.cancel = context.WithCancelCause(ctx)
	g.timer = time.AfterFunc(patience, func() { g.cancel(stalled(patience)) })
	return g
}

// Context returns the operation's context.
func (g *Guard) Context() context.Context { return g.ctx }

// Touch reports progress to the guard.
func (g *Guard) Touch() { g.timer.Reset(g.patience) }

// Pause stops the clock until the next Touch.
func (g *Guard) Pause() { g.timer.Stop() }

// Await waits until an object may be created. The guard does not count that time.
func (g *Guard) Await(attrs storage.Attrs) error {
	g.Pause()
	defer g.Touch()
	return attrs.AwaitReady()
}

// Stop ends the operation.
func (g *Guard) Stop() {
	g.timer.Stop()
	g.cancel(nil)
}

// Err returns the reason if err is a consequence of a stalled operation, or of an object
// that may not be created. Without it, a caller would mistake the guard's cancellation
// for its own.
func (g *Guard) Err(err error) error {
	switch cause := context.Cause(g.ctx).(type) {
	case stalled:
		if err != nil {
			return cause
		}
	case refused:
		if err != nil {
			return cause.error
		}
	}
	return err
}

type refused struct{ error }

// Hold reads a stream, but after n bytes it waits until the object may be created. If it
// may not, the operation ends.
func (g *Guard) Hold(r io.Reader, n int64, attrs storage.Attrs) io.Reader {
	return &held{Reader: r, left: n, guard: g, attrs: attrs}
}

type held struct {
	io.Reader
	left  int64 // bytes to read before it waits
	ready bool
	guard *Guard
	attrs storage.Attrs
}

func (h *held) Read(p []byte) (int, error) {
	if h.left == 0 && !h.ready {
		if err := h.guard.Await(h.attrs); err != nil {
			h.guard.cancel(refused{err})
			return 0, err
		}
		h.ready = true
	}
	if !h.ready {
		p = p[:min(int64(len(p)), h.left)]
	}
	n, err := h.Reader.Read(p)
	h.left -= int64(n)
	return n, err
}

// Body reads a body from its beginning to its end and counts every read as progress. It
// can seek, so that a request can be signed, sent and sent again without a copy in
// memory.
func (g *Guard) Body(r io.ReaderAt, off, n int64) io.ReadSeeker {
	return &body{io.NewSectionReader(r, off, n), g}
}

type body struct {
	io.ReadSeeker
	guard *Guard
}

func (b *body) Read(p []byte) (int, error) {
	b.guard.Touch()
	return b.ReadSeeker.Read(p)
}

// copyBuffers are buffers for reading a body. The S3 SDK reads it once to sign it, and
// io.Copy would allocate 32 KiB for that, however small the body is.
var copyBuffers = sync.Pool{New: func() any { return new([32 << 10]byte) }}

// WriteTo writes the rest of the body.
func (b *body) WriteTo(w io.Writer) (int64, error) {
	buffer := copyBuffers.Get().(*[32 << 10]byte)
	defer copyBuffers.Put(buffer)
	return io.CopyBuffer(w, struct{ io.Reader }{b}, buffer[:])
}

// Answer passes an answer's body to the caller. The guard's clock runs only while the
// caller reads: a slow reader is not a stalled store. Closing the answer stops the guard.
func (g *Guard) Answer(rc io.ReadCloser, wrap func(error) error) io.ReadCloser {
	g.timer.Stop()
	return &answer{rc, g, wrap}
}

type answer struct {
	io.ReadCloser
	guard *Guard
	wrap  func(error) error
}

func (a *answer) Read(p []byte) (int, error) {
	a.guard.Touch()
	n, err := a.ReadCloser.Read(p)
	a.guard.timer.Stop()
	if err != nil && err != io.EOF {
		err = a.wrap(a.guard.Err(err))
	}
	return n, err
}

func (a *answer) Close() error {
	// Cancel first: a half-read answer is not worth draining.
	a.guard.Stop()
	a.ReadCloser.Close()
	return nil
}
