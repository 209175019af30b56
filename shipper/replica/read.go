package replica

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"time"

	"github.com/cenkalti/backoff/v5"

	"github.com/walvfs/walvfs/format"
	"github.com/walvfs/walvfs/shipper/storage"
)

const (
	// stallTimeout bounds one read: a peer that is alive but sends nothing
	// ends no TCP connection, and a reader must not hang.
	stallTimeout = 30 * time.Second

	// maxShort is how often an object may end early. A proxy may close a connection as if it
	// had sent everything, but not again and again.
	maxShort = 3
)

var errStalled = fmt.Errorf("no data was received for %s", stallTimeout)

// Reader reads a range of a file, however often the connection breaks: it resumes where
// it stopped, for as long as [Options.Patience] says. A range that ends at the file's
// listed end is open: Reader returns bytes after it, which the caller can report. Its
// errors are a [*Damaged], also for a file that is shorter than listed, a [*Missing], or
// the store's own. The first Read opens the file.
func (r *Replica) Reader(ctx context.Context, f format.FileInfo, offset, length int64) io.ReadCloser {
	return &resumer{
		ctx:      ctx,
		replica:  r,
		file:     f,
		end:      offset + length,
		open:     offset+length == f.Size,
		offset:   offset,
		patience: r.patience,
		log:      r.log,
	}
}

// Read reads a whole range of a file. It fails with a [*Damaged] if the range is not in
// the file.
func (r *Replica) Read(ctx context.Context, f format.FileInfo, offset, length int64) ([]byte, error) {
	if offset < 0 || length < 0 || offset > f.Size-length {
		return nil, r.FileError(f, fmt.Errorf("%w: it has %d bytes, and not %d from %d on", format.ErrCorrupt, f.Size, length, offset))
	}
	body := r.Reader(ctx, f, offset, length)
	defer body.Close()
	b := make([]byte, length)
	if err := ReadFull(body, b); err != nil {
		return nil, err
	}
	return b, nil
}

// ReadFull is [io.ReadFull], but returns errors unchanged.
func ReadFull(r io.Reader, b []byte) error {
	for len(b) > 0 {
		n, err := r.Read(b)
		if b = b[n:]; err != nil && len(b) > 0 {
			return err
		}
	}
	return nil
}

// resumer reads one object, however often the connection breaks: it resumes where it
// stopped, with a ranged read.
type resumer struct {
	ctx      context.Context
	replica  *Replica
	file     format.FileInfo
	end      int64 // end of the range
	open     bool  // the range ends at the object's end
	patience time.Duration
	log      *slog.Logger
	offset   int64

	body   io.ReadCloser // nil: open it at offset
	cancel context.CancelCauseFunc
	short  int // premature ends since the last byte
}

var _ io.ReadCloser = &resumer{}

// Read returns io.EOF at the end of the range, unless the object ends before.
func (r *resumer) Read(p []byte) (int, error) {
	n, err := r.resume(p)
	if err != nil && err != io.EOF {
		err = r.replica.FileError(r.file, err)
	}
	return n, err
}

func (r *resumer) resume(p []byte) (int, error) {
	if r.patience == 0 {
		n, err := r.try(p)
		if p, ok := errors.AsType[*backoff.PermanentError](err); ok {
			err = p.Err
		}
		return n, err
	}
	return backoff.Retry(r.ctx, func() (int, error) { return r.try(p) },
		backoff.WithBackOff(&backoff.ExponentialBackOff{
			InitialInterval:     250 * time.Millisecond,
			RandomizationFactor: 0.5,
			Multiplier:          2,
			MaxInterval:         10 * time.Second,
		}),
		backoff.WithMaxElapsedTime(r.patience),
		backoff.WithNotify(func(err error, wait time.Duration) {
			r.log.Warn("download interrupted, resuming", "key", r.replica.Key(r.file), "offset", r.offset, "size", r.file.Size, "error", err, "wait", wait)
		}))
}

// try reads once. An error that it does not mark as permanent may be transient.
func (r *resumer) try(p []byte) (int, error) {
	if r.body == nil && r.offset >= r.end {
		return 0, backoff.Permanent(io.EOF)
	}
	n, err := r.readBody(p)
	r.offset += int64(n)
	if err != nil {
		r.Close()
	}
	switch {
	case n > 0:
		r.short = 0
		return n, nil // a lasting error comes back at the next read
	case err == nil:
		return 0, nil
	case err == io.EOF && r.offset >= r.end:
		return 0, backoff.Permanent(io.EOF)
	case err == io.EOF:
		return 0, r.endedShort()
	case permanent(err):
		return 0, backoff.Permanent(err)
	}
	return 0, err
}

// readBody reads from the open body, or opens it first, and gives up if no data arrives.
func (r *resumer) readBody(p []byte) (n int, err error) {
	ctx := r.ctx
	if r.body == nil {
		ctx, r.cancel = context.WithCancelCause(r.ctx)
	}
	cancel := r.cancel
	stall := time.AfterFunc(stallTimeout, func() { cancel(errStalled) })
	defer func() {
		if !stall.Stop() && err != nil && r.ctx.Err() == nil {
			err = errStalled
		}
	}()
	if r.body == nil {
		if r.body, _, err = r.replica.store.Open(ctx, r.replica.Key(r.file), r.offset, r.length()); err != nil {
			return 0, err
		}
	}
	return r.body.Read(p)
}

// length returns the length of the range to request. At the object's end it is open, so
// that the reader sees bytes after the listed end.
func (r *resumer) length() int64 {
	if r.open {
		return -1
	}
	return r.end - r.offset
}

func (r *resumer) endedShort() error {
	r.short++
	err := fmt.Errorf("%w: it ends after %d of %d bytes", format.ErrCorrupt, r.offset, r.file.Size)
	if r.short >= maxShort {
		return backoff.Permanent(err)
	}
	return err
}

// Close ends the connection. The resumer can still be read.
func (r *resumer) Close() error {
	if r.cancel != nil {
		r.cancel(nil)
		r.cancel = nil
	}
	if r.body == nil {
		return nil
	}
	body := r.body
	r.body = nil
	return body.Close()
}

// permanent reports whether retrying is useless.
func permanent(err error) bool {
	return errors.Is(err, storage.ErrNotExist) ||
		errors.Is(err, storage.ErrNoBucket) ||
		errors.Is(err, storage.ErrPermission)
}
