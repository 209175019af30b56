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
	WAL       bool `name:"wal" help:"Put the database into WAL mode if it is not, for good."`
	Overwrite bool `help:"If the replica holds another history, go on with this database's content nevertheless."`

	Fencing string `enum:"on,off" default:"on" placeholder:"off" help:"With off, write to a store that does not support put-if-absent. Make sure that no other writer does."`
}

// Help is shown below the synopsis.
func (*pushCmd) Help() string {
	return `It replicates a database as it is now, once: for cron, and for databases of programs that do not open them through walvfs. A program that does needs no push: it replicates all the time, and push cannot open its database beside it.

The first run uploads everything, each other one what has changed since, and nothing if nothing has. What changed is known from the database's write-ahead log. If that has started over since the last run, which it does every thousand pages or so, or when the last program closes the database, everything is uploaded again: a database that is written to much is better replicated from within.

Like a program that runs all the time, it also compacts files and makes snapshots when they are due by the age of the replica's files, and deletes what is not kept, so that the replica of a database that cron pushes stays small. How long files are kept and what is due when, the configuration file says.

The database must be in WAL mode, in which SQLite's readers and writers do not block each other. One that is not is left alone, unless --wal allows to change that. Programs need not be told, but all of them must then run on this machine, and no other can have the database open at that moment. Beside the database, the file DB-walvfs remembers what the replica has. Nothing else is changed. It remembers one replica: a database that is pushed to two of them in turn is refused by the first one, as another history.

Examples:

	walvfs push --wal /var/lib/my-app/data.db s3://bucket/app

	# From cron, which sends mail if there is output.
	*/5 * * * *  walvfs push --quiet /var/lib/my-app/data.db s3://bucket/app

Exit statuses: 0 the replica has everything, 1 failed, 2 wrong command line or configuration, or not in WAL mode, 130 interrupted. After any but 0, the replica is whole, but it may lack what was committed last.`
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
	// It is opened again by the VFS; here, what is wrong with the URL is said.
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

// hint adds what push can do about another history.
func (c *pushCmd) hint(err error) error {
	if errors.Is(err, shipper.ErrDiverged) || errors.Is(err, shipper.ErrFenced) {
		return &hintedError{err, "if this database's content is right, --overwrite goes on with it"}
	}
	return err
}

// pushed is what --json prints.
type pushed struct {
	DBPath     string      `json:"db_path"`
	Replica    string      `json:"replica"`
	Skipped    string      `json:"skipped,omitempty"` // why nothing was done
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
