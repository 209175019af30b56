package restore

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
	// ends no TCP connection, and a restore must not hang.
	stallTimeout = 30 * time.Second

	// retryFor is how long a download may stand still before the restore fails.
	retryFor = 2 * time.Minute

	// maxShort is how often an object may end before its time. A proxy may
	// close a connection as if all were sent, but not again and again.
	maxShort = 3
)

var errStalled = fmt.Errorf("nothing was received for %s", stallTimeout)

// resumer reads one object, however often the connection breaks: it goes on
// where it was, with a ranged read.
type resumer struct {
	ctx    context.Context
	store  storage.Store
	key    string
	size   int64 // of the object, as its listing said
	end    int64 // where the range ends
	open   bool  // the range ends where the object does
	log    *slog.Logger
	offset int64

	body   io.ReadCloser // nil: to be opened at offset
	cancel context.CancelCauseFunc
	short  int // premature ends since the last byte
}

var _ io.ReadCloser = &resumer{}

func newResumer(ctx context.Context, store storage.Store, f format.FileInfo, log *slog.Logger) *resumer {
	return &resumer{
		ctx:   ctx,
		store: store,
		key:   store.Layout().Key(f.Level, f.MinTXID, f.MaxTXID),
		size:  f.Size,
		end:   f.Size,
		open:  true,
		log:   log,
	}
}

// within has it read only n bytes from an offset.
func (r *resumer) within(offset, n int64) *resumer {
	r.offset, r.end = offset, offset+n
	r.open = r.end == r.size
	return r
}

// Read returns io.EOF where the range ends, unless the object ends before. Bytes
// after the end that the object's listing told are returned: it is for the caller
// to object to them.
func (r *resumer) Read(p []byte) (int, error) {
	return backoff.Retry(r.ctx, func() (int, error) { return r.try(p) },
		backoff.WithBackOff(&backoff.ExponentialBackOff{
			InitialInterval:     250 * time.Millisecond,
			RandomizationFactor: 0.5,
			Multiplier:          2,
			MaxInterval:         10 * time.Second,
		}),
		backoff.WithMaxElapsedTime(retryFor),
		backoff.WithNotify(func(err error, wait time.Duration) {
			r.log.Warn("download interrupted, resuming", "key", r.key, "offset", r.offset, "size", r.size, "error", err, "wait", wait)
		}))
}

// try reads once. An error that it does not mark as permanent may pass.
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
		return n, nil // an error comes back at the next read, or it has passed
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

// readBody reads from the open body, or opens it first, and gives up when
// nothing comes.
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
		if r.body, _, err = r.store.Open(ctx, r.key, r.offset, r.length()); err != nil {
			return 0, err
		}
	}
	return r.body.Read(p)
}

// length is of the range to ask for. At the object's end it is open, so that bytes
// after the end that its listing told are seen.
func (r *resumer) length() int64 {
	if r.open {
		return -1
	}
	return r.end - r.offset
}

func (r *resumer) endedShort() error {
	r.short++
	err := fmt.Errorf("%w: it ends after %d of %d bytes", format.ErrCorrupt, r.offset, r.size)
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

// permanent reports whether trying again is of no use.
func permanent(err error) bool {
	return errors.Is(err, storage.ErrNotExist) ||
		errors.Is(err, storage.ErrNoBucket) ||
		errors.Is(err, storage.ErrPermission)
}
