package restore

import (
	"context"
	"fmt"

	"github.com/walvfs/walvfs/format"
	"github.com/walvfs/walvfs/shipper/replica"
)

// applyPlan writes the database that the plan leads to, each of its pages once, and
// describes it.
func applyPlan(ctx context.Context, from *replica.Replica, plan replica.Plan, db *database, opts Options) (Result, error) {
	if err := db.begin(); err != nil {
		return Result{}, err
	}
	files, pages, err := readPlan(ctx, from, plan, nil, db, opts)
	if err != nil {
		return Result{}, err
	}
	return db.end(files, pages)
}

// checkChain checks what concerns more than one file, once each is verified. Before is
// the file that they continue, nil if they start a database.
func checkChain(files []*file, before *file) error {
	for _, f := range files {
		if err := f.follows(before); err != nil {
			return f.fail(err)
		}
		before = f
	}
	return nil
}

// follows checks that a file can be applied after another file. The database must not get
// pages that no file holds: they would be zeros, or content from before the database
// shrank.
func (f *file) follows(before *file) error {
	switch {
	case f.header.MinTXID == 1: // a whole database: its scanner checked that
		return nil
	case before == nil:
		return fmt.Errorf("%w: the first file must hold the database from TXID 1, but begins at %s", format.ErrCorrupt, f.header.MinTXID)
	case f.whole == 1: // equivalent, also if the page size has changed
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
