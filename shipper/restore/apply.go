package restore

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"

	"github.com/RoaringBitmap/roaring/v2"
	"golang.org/x/sync/errgroup"

	"github.com/walvfs/walvfs/format"
	"github.com/walvfs/walvfs/shipper/storage"
)

// applyPlan writes the database that the plan leads to, each of its pages once,
// and says what it is.
func applyPlan(parent context.Context, store storage.Store, plan plan, db *database, opts Options) (Result, error) {
	if err := db.begin(); err != nil {
		return Result{}, err
	}
	fail := func(i int, err error) error { return plan.fileError(store, i, err) }
	open := func(ctx context.Context, p *piece) io.ReadCloser {
		return newResumer(ctx, store, plan.files[p.file], opts.Logger).within(p.offset, p.size)
	}
	cores := runtime.GOMAXPROCS(0)
	batches := make(chan *batch, cores)
	tracker := newTracker(plan.files, opts.Progress, fail)
	claimed := roaring.New()

	g, ctx := errgroup.WithContext(parent)
	fetcher := newFetcher(plan.files, opts, open, fail)
	g.Go(func() error { return fetcher.run(ctx, g) })
	splitter := &splitter{ctx: ctx, tracker: tracker, batches: batches, claimed: claimed}
	g.Go(func() error { return splitter.run(fetcher.pieces) })
	for range cores {
		g.Go(func() error { return newWorker(db, tracker).work(ctx, batches) })
	}
	if err := g.Wait(); err != nil {
		if parent.Err() != nil {
			err = context.Cause(parent)
		}
		return Result{}, err
	}
	if err := checkChain(tracker.files); err != nil {
		return Result{}, err
	}
	return db.end(tracker.files, claimed.GetCardinality())
}

// checkChain checks what concerns more than one file, once each is verified.
func checkChain(files []*file) error {
	var before *file
	for _, f := range files {
		if err := f.follows(before); err != nil {
			return f.fail(err)
		}
		before = f
	}
	return nil
}

// follows checks that a file can be applied after another one. The database must
// not come to have pages that no file holds: they would be zeros, or what they
// were before the database shrank.
func (f *file) follows(before *file) error {
	switch {
	case f.header.MinTXID == 1: // a whole database: its scanner saw to that
		return nil
	case before == nil:
		return fmt.Errorf("%w: the first file must hold the database from TXID 1, but begins at %s", format.ErrCorrupt, f.header.MinTXID)
	case f.whole == 1: // as good, also if the page size has changed
		return nil
	case f.header.PageSize != before.header.PageSize:
		return fmt.Errorf("%w: its page size is %d, the database's is %d, and it does not hold the whole database", format.ErrCorrupt, f.header.PageSize, before.header.PageSize)
	}
	grown := before.header.Commit + 1 // the first page by which the database grows
	if grown == format.LockPage(f.header.PageSize) {
		grown++
	}
	if grown <= f.header.Commit && grown < f.whole {
		return fmt.Errorf("%w: the database grows from %d to %d pages, but not all of these are in it", format.ErrCorrupt, before.header.Commit, f.header.Commit)
	}
	return nil
}

// fileError names the object, and what can be restored without it. An error that
// is an Error says all: it is the disk's, or the one for which others were stopped.
func (p plan) fileError(store storage.Store, i int, err error) error {
	if _, ok := errors.AsType[*Error](err); ok {
		return err
	}
	f := p.files[i]
	err = objectError("apply", store, f, err)
	e, ok := err.(*Error)
	if !ok || !errors.Is(err, format.ErrCorrupt) {
		return err
	}
	for _, txid := range format.Restorable(p.listed) {
		if txid < f.MaxTXID {
			// These have not been read, or not to their ends.
			e.Hint = fmt.Sprintf("TXID %s, the one before, can be restored if the files that it takes are whole", txid)
		}
	}
	return err
}
