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
	return `A database continues a replica that it wrote, or that walvfs restored it from. Any other database halts, even if it equals the replica page for page: it may be a clone on a test machine, which would cut off the original. walvfs adopt gives your consent that this database continues.

The command compares the database with the replica's newest state, page by page. That downloads the replica, but takes no disk space. If they are equal, or if the database only has later commits in its write-ahead log, the command claims the replica's next transaction ID: from then on the database owns the replica, and any other writer, such as the original of a copy, is fenced. If they differ, the command says where, and changes nothing.

Stop the application first, or set adopt=equal in its database URI instead.

Examples:

	# A copy of the database takes the place of the original.
	walvfs adopt /var/lib/my-app/data.db s3://bucket/app

	# Move from Litestream 0.5: stop the application and Litestream, then
	walvfs adopt /var/lib/my-app/data.db s3://bucket/app

Exit statuses: 0 the database owns the replica, 1 failed, or they differ, 2 wrong command line or configuration, 3 no replica at the URL, 130 interrupted. After any status but 0, the replica is unchanged, or the same command completes the work.`
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
	// A replica without files would become this database's replica; that is the task of
	// push.
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

// adopted is the output of --json.
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
