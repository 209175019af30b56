package main

import (
	"errors"
	"fmt"
	"io/fs"

	"github.com/walvfs/walvfs/format"
	"github.com/walvfs/walvfs/shipper"
	"github.com/walvfs/walvfs/shipper/replica"
	"github.com/walvfs/walvfs/shipper/storage"
	"github.com/walvfs/walvfs/vfs"
)

type adoptCmd struct {
	replicateArgs
}

// Help is shown below the synopsis.
func (*adoptCmd) Help() string {
	return `A database goes on from a replica that it wrote, or that it was restored from by walvfs. Any other one halts, even if it equals the replica page for page: it may be a clone on a test machine, which would cut off the application that it was cloned from. This command says that it may go on.

It compares the database with the replica's newest state, page by page, which takes a download of the replica and no space on the disk. If they are equal, or if the database has only later commits in its write-ahead log, it claims the replica's next transaction ID. From then on the database belongs to the replica, as if it had always written it, and another writer, such as the original of a copy, is fenced. If they differ, it says where, and changes nothing.

Stop the application first, or set adopt=equal in its database URI instead.

Examples:

	# A copy of the database takes the place of the original.
	walvfs adopt /var/lib/my-app/data.db s3://bucket/app

	# Moving from Litestream 0.5: stop the application and Litestream, then
	walvfs adopt /var/lib/my-app/data.db s3://bucket/app

Exit statuses: 0 the database belongs to the replica, 1 failed, or they differ, 2 wrong command line or configuration, 3 no replica at the URL, 130 interrupted. After any but 0, the replica is unchanged, or the same command finishes the work.`
}

func (c *adoptCmd) Run(a *app) error {
	db, err := c.resolve()
	if err != nil {
		return err
	}
	empty, err := c.checkMode(true)
	if err != nil {
		return err
	}
	store, err := storage.Open(a.ctx, db.URL, db.Options)
	if err != nil {
		return &usageError{err: err}
	}
	defer store.Close()
	if empty {
		return &hintedError{fmt.Errorf("%s: the database is empty: %w", c.DB, fs.ErrNotExist), "walvfs restore brings it back from the replica"}
	}
	// A replica without files would become this database's, which is what push is for.
	r := replica.New(store, replica.Options{})
	if _, err := r.Files(a.ctx); err != nil {
		return err
	}
	if r.Foreign() {
		return r.Begins(a.ctx)
	}
	status, err := c.replicate(a, db, vfs.Options{Adopt: vfs.AdoptEqual})
	if errors.Is(err, shipper.ErrDiverged) {
		return &hintedError{err, "the database was not changed, and neither was the replica"}
	}
	if err != nil {
		return err
	}
	return c.done(a, store.String(), status.Tip.TXID)
}

// adopted is what --json prints.
type adopted struct {
	DBPath  string      `json:"db_path"`
	Replica string      `json:"replica"`
	TXID    format.TXID `json:"txid"`
}

func (c *adoptCmd) done(a *app, replica string, txid format.TXID) error {
	if c.JSON {
		return a.printJSON(adopted{c.DB, replica, txid})
	}
	if c.Quiet {
		return nil
	}
	_, err := fmt.Fprintf(a.stdout, "%s: equal to %s, and goes on from it: TXID %s is its own\n", c.DB, replica, txid)
	return err
}
