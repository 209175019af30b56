package main

import (
	"errors"
	"fmt"
	"time"

	"github.com/dustin/go-humanize"

	"github.com/walvfs/walvfs/format"
	"github.com/walvfs/walvfs/shipper"
	"github.com/walvfs/walvfs/shipper/storage"
	"github.com/walvfs/walvfs/vfs"
)

type pushCmd struct {
	replicateArgs
	WAL       bool `name:"wal" help:"Put the database into WAL mode, permanently."`
	Overwrite bool `help:"If the replica holds another history, continue it with this database's content."`

	Fencing string `enum:"on,off" default:"on" placeholder:"off" help:"off: accept a store that does not support put-if-absent. Make sure that there is no other writer."`
}

// Help is shown below the synopsis.
func (*pushCmd) Help() string {
	return `walvfs push uploads the changes of a database once, for example from cron. It is for programs that do not open their database through walvfs. A program that does needs no push, and push cannot open its database while the program runs.

The first run uploads the whole database. A later run uploads the pages that changed since, or nothing if none did. It finds the changes in the write-ahead log. If SQLite has restarted the log since the last run, as it does every thousand pages or so and when the last program closes the database, push uploads the whole database again. So replicate a database with many writes from within its program.

push also compacts files, makes snapshots and deletes expired files when they are due by the age of the replica's files, so the replica stays small. The configuration file sets when they are due.

The database must be in WAL mode, in which readers and writers do not block each other. With --wal, push puts it into WAL mode. Programs need no change, but from then on all of them must run on this machine, and none may have the database open at that moment. push changes nothing else in the database. The file DB-walvfs records what the replica has, for one replica: a database that you push to two replicas in turn is refused by the first one, as another history.

Examples:

	walvfs push --wal /var/lib/my-app/data.db s3://bucket/app

	# From cron, which sends mail if there is output.
	*/5 * * * *  walvfs push --quiet /var/lib/my-app/data.db s3://bucket/app

Exit statuses: 0 the replica has everything, 1 failed, 2 wrong command line or configuration, or not in WAL mode, 130 interrupted. After any status but 0, the replica is intact, but may lack the last commits.`
}

func (c *pushCmd) Run(a *app) error {
	db, err := c.resolve()
	if err != nil {
		return err
	}
	empty, err := c.checkMode(c.WAL)
	if err != nil {
		return err
	}
	// The VFS opens the store again; this open reports errors in the URL.
	store, err := storage.Open(a.ctx, db.URL, db.Options)
	if err != nil {
		return &usageError{err: err}
	}
	replica := store.String()
	store.Close()
	if empty {
		return c.done(a, replica, pushed{Skipped: "the database is empty"})
	}
	start := time.Now()
	var opts vfs.Options
	if c.Overwrite {
		opts.Diverged = vfs.DivergedOverwrite
	}
	if c.Fencing == vfs.FencingOff.String() {
		opts.Fencing = vfs.FencingOff
	}
	status, err := c.replicate(a, db, opts)
	if err != nil {
		return c.hint(err)
	}
	return c.done(a, replica, pushed{
		TXID:       status.Tip.TXID,
		Files:      status.Uploads,
		Bytes:      status.Bytes,
		DurationMS: time.Since(start).Milliseconds(),
	})
}

// hint adds how push can replace another history.
func (c *pushCmd) hint(err error) error {
	if errors.Is(err, shipper.ErrDiverged) || errors.Is(err, shipper.ErrFenced) {
		return &hintedError{err, "to continue with this database's content, use --overwrite"}
	}
	return err
}

// pushed is the output of --json.
type pushed struct {
	DBPath     string      `json:"db_path"`
	Replica    string      `json:"replica"`
	Skipped    string      `json:"skipped,omitempty"` // why push did nothing
	TXID       format.TXID `json:"txid,omitzero"`
	Files      int64       `json:"files"`
	Bytes      int64       `json:"bytes"`
	DurationMS int64       `json:"duration_ms"`
}

func (c *pushCmd) done(a *app, replica string, p pushed) error {
	p.DBPath, p.Replica = c.DB, replica
	if c.JSON {
		return a.printJSON(p)
	}
	if c.Quiet {
		return nil
	}
	var err error
	switch {
	case p.Skipped != "":
		_, err = fmt.Fprintf(a.stdout, "%s: nothing to push: %s\n", c.DB, p.Skipped)
	case p.Files == 0:
		_, err = fmt.Fprintf(a.stdout, "%s: nothing has changed since TXID %s\n", c.DB, p.TXID)
	default:
		_, err = fmt.Fprintf(a.stdout, "%s: pushed TXID %s to %s: %s (%s) in %s\n", c.DB, p.TXID, replica,
			count(int(p.Files), "file"), humanize.IBytes(uint64(p.Bytes)), time.Duration(p.DurationMS)*time.Millisecond)
	}
	return err
}
