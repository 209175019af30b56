package restore

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"runtime"

	"github.com/RoaringBitmap/roaring/v2"
	"golang.org/x/sync/errgroup"

	"github.com/walvfs/walvfs/format"
	"github.com/walvfs/walvfs/shipper/replica"
)

// Applied is a file that has been read and verified.
type Applied struct {
	Info     format.FileInfo
	Header   format.LTXHeader
	Checksum format.Checksum // in its trailer
}

// ReadChanges reads the pages that the files of a plan change in a database into a sink,
// each page once, from the newest file that has it. At is the database that the plan
// continues, by its MaxTXID, PageSize and Commit; the zero value means no database, and
// then the plan begins with a whole database. The sink gets pages of the database at the
// plan's TXID: all of them if At is zero, or if the page size has changed. Of the
// options, only Parallelism, Progress and Logger apply.
//
// ReadChanges makes no other plan: it fails with a [*replica.Damaged] or a
// [*replica.Missing] that names the file, or with the sink's error.
func ReadChanges(ctx context.Context, from *replica.Replica, plan replica.Plan, at format.LTXHeader, opts Options, sink PageSink) ([]Applied, error) {
	opts.Logger = cmp.Or(opts.Logger, slog.New(slog.DiscardHandler))
	opts.Parallelism = cmp.Or(max(opts.Parallelism, 0), 64)
	into := &sinkFile{sink: sink}
	db := newDatabase(into, from.String())
	into.pageSize = func() int { return db.runSize() }
	if err := db.begin(); err != nil {
		return nil, err
	}
	var before *file
	if at != (format.LTXHeader{}) {
		before = &file{header: at}
	}
	files, pages, err := readPlan(ctx, from, plan, before, db, opts)
	if err != nil {
		return nil, err
	}
	last := files[len(files)-1].header
	if whole := before == nil || last.PageSize != at.PageSize; whole && pages != wholePages(last) {
		return nil, fmt.Errorf("restore: %d pages are to be written, of %d: this is a bug", pages, wholePages(last))
	}
	applied := make([]Applied, len(files))
	for i, f := range files {
		applied[i] = Applied{f.info, f.header, f.checksum}
	}
	return applied, nil
}

// wholePages returns the number of pages in the files of a whole database: all but the
// lock page.
func wholePages(h format.LTXHeader) uint64 {
	if h.Commit >= format.LockPage(h.PageSize) {
		return uint64(h.Commit) - 1
	}
	return uint64(h.Commit)
}

// readPlan writes the pages of a plan, and checks what concerns more than one file. It
// returns the files and the number of pages written.
func readPlan(parent context.Context, from *replica.Replica, plan replica.Plan, before *file, db *database, opts Options) ([]*file, uint64, error) {
	fail := failures(from, plan)
	open := func(ctx context.Context, p *piece) io.ReadCloser {
		return from.Reader(ctx, plan.Apply[p.file], p.offset, p.size)
	}
	cores := runtime.GOMAXPROCS(0)
	batches := make(chan *batch, cores)
	tracker := newTracker(plan, opts.Progress, fail)
	claimed := roaring.New()

	g, ctx := errgroup.WithContext(parent)
	fetcher := newFetcher(plan.Apply, opts, open, fail)
	g.Go(func() error { return fetcher.run(ctx, g) })
	splitter := &splitter{ctx: ctx, tracker: tracker, batches: batches, claimed: claimed}
	// The splitter sets it before it sends the first batch, and does not change it.
	db.runSize = func() int { return int(splitter.newest.PageSize) }
	g.Go(func() error { return splitter.run(fetcher.pieces) })
	for range cores {
		g.Go(func() error { return newWorker(db, tracker).work(ctx, batches) })
	}
	if err := g.Wait(); err != nil {
		if parent.Err() != nil {
			err = context.Cause(parent)
		}
		return nil, 0, err
	}
	return tracker.files, claimed.GetCardinality(), checkChain(tracker.files, before)
}

// failures names the file in an error. An [*Error] is already complete: it is the disk's,
// or the error for which other goroutines were stopped.
func failures(from *replica.Replica, plan replica.Plan) func(i int, err error) error {
	return func(i int, err error) error {
		if _, ok := errors.AsType[*Error](err); ok {
			return err
		}
		return from.FileError(plan.Apply[i], err)
	}
}
