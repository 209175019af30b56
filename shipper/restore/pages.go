package restore

import (
	"cmp"
	"context"
	"log/slog"
	"time"

	"github.com/walvfs/walvfs/shipper/restore/internal/disk"
	"github.com/walvfs/walvfs/shipper/storage"
)

// A PageSink takes the pages of a replica from [ReadPages].
type PageSink interface {
	// Reset drops the pages received so far. It is called before the first page, and when a
	// file of the replica is damaged, or was removed before it was read: then all pages
	// come again, by another plan.
	Reset() error

	// WritePages takes a run of whole pages of pageSize bytes, numbered from first. Runs
	// come in any order, from several goroutines, each page once. They are only valid until
	// WritePages returns, and only verified once ReadPages has returned without an error.
	// The lock page does not come.
	WritePages(pageSize int, first uint32, pages []byte) error
}

// ReadPages reads the database that a replica holds, as [Restore] does, into a sink: it
// writes no file. The result's TXID and Checksum are the mark of the database. Of the
// options, only TXID, Timestamp, Parallelism, Progress and Logger apply.
func ReadPages(ctx context.Context, store storage.Store, opts Options, sink PageSink) (Result, error) {
	start := time.Now()
	opts.Logger = cmp.Or(opts.Logger, slog.New(slog.DiscardHandler))
	opts.Parallelism = cmp.Or(max(opts.Parallelism, 0), 64)
	opts.Rewind = false
	from := opts.read(store)
	plan, err := from.Plan(ctx, opts.target())
	if err != nil {
		return Result{}, err
	}
	file := &sinkFile{sink: sink}
	db := newDatabase(file, store.String())
	file.pageSize = func() int { return db.runSize() }
	result, _, err := applyPlans(ctx, from, plan, db, opts)
	if err != nil {
		return Result{}, err
	}
	result.Duration = time.Since(start)
	return result, nil
}

// sinkFile adapts a sink to the file of a [database].
type sinkFile struct {
	sink     PageSink
	pageSize func() int // bytes; known before the first page comes
}

var _ disk.File = &sinkFile{}

func (f *sinkFile) WriteAt(pages []byte, offset int64) (int, error) {
	size := f.pageSize()
	if err := f.sink.WritePages(size, uint32(offset/int64(size))+1, pages); err != nil {
		return 0, err
	}
	return len(pages), nil
}

// Truncate resets the sink. At the end, the size adds nothing to the result.
func (f *sinkFile) Truncate(size int64) error {
	if size > 0 {
		return nil
	}
	return f.sink.Reset()
}

func (f *sinkFile) Sync() error { return nil }
