package restore

import (
	"cmp"
	"context"
	"errors"
	"io"
	"log/slog"
	"os"
	"time"

	"github.com/walvfs/walvfs/internal/statefile"
	"github.com/walvfs/walvfs/shipper/restore/internal/disk"
	"github.com/walvfs/walvfs/shipper/storage"
)

// Write writes the database that a replica holds to w, from its first byte to its last,
// once all of it is restored and verified. Until then, it is in an unnamed file in dir,
// or in the system's directory for temporary files if dir is empty. The file takes as
// much room as the database. Of the options, only TXID, Timestamp, Parallelism, Progress
// and Logger apply.
//
// Write fails as [Restore] does, with w's error, or with the context's cause. After an
// error, w has received nothing, unless the error is w's or the context's.
func Write(ctx context.Context, store storage.Store, w io.Writer, dir string, opts Options) (r Result, err error) {
	start := time.Now()
	opts.Logger = cmp.Or(opts.Logger, slog.New(slog.DiscardHandler))
	opts.Parallelism = cmp.Or(max(opts.Parallelism, 0), 64)
	opts.Rewind = false
	from := opts.read(store)
	plan, err := from.Plan(ctx, opts.target())
	if err != nil {
		return Result{}, err
	}
	name := "a temporary file in " + cmp.Or(dir, os.TempDir())
	f, err := statefile.Temp(dir)
	if err != nil {
		return Result{}, createError(name, err)
	}
	defer func() { err = errors.Join(err, statefile.CloseTemp(f)) }()

	db := newDatabase(opts.hooks.Wrap(name, f), name)
	r, _, err = applyPlans(ctx, from, plan, db, opts)
	if err != nil {
		return Result{}, err
	}
	size := int64(r.Pages) * int64(r.PageSize)
	if _, err := io.Copy(writer{w}, &untilDone{ctx, io.NewSectionReader(f, 0, size)}); err != nil {
		return Result{}, db.fail("read", err)
	}
	r.Duration = time.Since(start)
	return r, nil
}

// writer hides a writer's other methods: the copy must go through memory, where it can be
// stopped. It keeps its errors apart from the temporary file's.
type writer struct{ w io.Writer }

func (w writer) Write(b []byte) (int, error) {
	n, err := w.w.Write(b)
	if err != nil {
		err = &Error{Op: "write", Name: "the database", Err: disk.Pathless(err)}
	}
	return n, err
}

// untilDone ends with the cause of a context that is done.
type untilDone struct {
	ctx context.Context
	r   io.Reader
}

func (u *untilDone) Read(b []byte) (int, error) {
	if u.ctx.Err() != nil {
		return 0, context.Cause(u.ctx)
	}
	return u.r.Read(b)
}
