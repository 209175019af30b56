package main

import (
	"cmp"
	"errors"
	"fmt"
	"time"

	"github.com/dustin/go-humanize"

	"github.com/walvfs/walvfs/format"
	"github.com/walvfs/walvfs/shipper/restore"
)

type restoreCmd struct {
	replicaArg
	Output string `short:"o" placeholder:"FILE" help:"The database to write; - is the standard output. By default the database that names the replica."`

	TXID      txidFlag `name:"txid" placeholder:"TXID" help:"Restore this transaction, in hexadecimal, instead of the newest."`
	Timestamp timeFlag `placeholder:"TIME" help:"Restore the newest state at or before this time: 2026-01-02T15:04:05Z, '2026-01-02 15:04' or 2026-01-02 (UTC without a zone), 5m or '2 days ago'."`

	Rewind bool `help:"With --txid or --timestamp: let the application continue from this older state. It uploads the state as the replica's next transaction, and later states can still be restored."`

	Force           bool `help:"Replace an existing database, with its -wal, -shm and -journal files. It must not be in use."`
	IfDBNotExists   bool `name:"if-db-not-exists" help:"If the database exists, do nothing and succeed. An empty file, or a symbolic link to no file, does not count as a database."`
	IfReplicaExists bool `name:"if-replica-exists" help:"If there is no replica, do nothing and succeed. A replica that cannot be reached is an error."`

	Follow   bool          `help:"Keep the copy up to date for readers, until interrupted."`
	Interval time.Duration `default:"1s" help:"With --follow, how often to look for new transactions. On an idle replica, 1s makes some 3,500 GET and 130 LIST requests an hour; with gs://, 3,500 of both."`

	DryRun bool `help:"Print what would be restored, and an estimate of the duration. Create and change nothing."`

	JSON  bool `name:"json" help:"Print the result as a JSON object; with --follow, one object per line for each change."`
	Quiet bool `short:"q" help:"Print errors only."`
}

// Help is shown below the synopsis.
func (*restoreCmd) Help() string {
	return `walvfs restore writes the database to a temporary name, checks it, and renames it once it is complete. It replaces an existing database only with --force, and in one step: after a crash, the old database or the new one is there. An empty file, or a symbolic link to no file, does not count as a database. restore replaces the empty file, and writes to where the link leads. The new database gets the owner and mode of the one that it replaces; without one, only its owner can read it.

If the restored database is the replica's newest state, an application that opens it with the same replica continues from there. If it is an older state, replication halts, because the replica has later transactions. Use --rewind to continue from an older state.

With --follow, walvfs restore then keeps the copy up to date. Programs may read it through SQLite meanwhile; each of their transactions sees one commit. They must not write to it: restore detects a write, and ends with an error. The copy is in rollback-journal mode: it does not change while a reader is in a transaction, and readers wait while changes are written, so set a busy_timeout. If you start restore --follow again, it continues where it stopped. The file FILE-walvfs-follow records where.

With -o -, the database goes to the standard output after all of it is restored and checked. Until then, it is in an unnamed temporary file in the system's directory for temporary files ($TMPDIR), which takes as much room as the database. An application that opens such a copy with the replica first compares the two.

With --dry-run, walvfs restore lists the replica, reads the header of the last file, checks the file at the output path, and downloads a tenth of the bytes, at most 32 MiB, to estimate the duration of the download. It does not find damaged files.

Examples:

	# The newest state.
	walvfs restore -o app.db s3://bucket/app

	# The same, if walvfs.yml says where the replica of this database is.
	walvfs restore /var/lib/my-app/data.db

	# The state at noon, or of five minutes ago, next to the live database.
	walvfs restore -o noon.db --timestamp 2026-01-02T12:00:00Z s3://bucket/app
	walvfs restore -o before.db --timestamp '5m ago' s3://bucket/app

	# Continue from the state of five minutes ago. Stop the application first.
	walvfs restore --rewind --timestamp '5m ago' --force -o app.db s3://bucket/app

	# Show what would be restored; restore through a pipe.
	walvfs restore --dry-run --timestamp '2026-01-02 12:00' s3://bucket/app
	walvfs restore -o - s3://bucket/app | ssh other 'cat > app.db'

	# A copy to read from, about two seconds behind at most.
	walvfs restore --follow -o copy.db s3://bucket/app

	# When a container starts: restore the database if it does not exist, but a replica does.
	walvfs restore --if-db-not-exists --if-replica-exists -o /data/app.db s3://bucket/app

Exit statuses: 0 done, 1 failed, 2 wrong command line or configuration, 3 no replica at the URL, 130 interrupted. After any status but 0, the file at the path is unchanged. --follow ends with 0 when it is interrupted.`
}

// Validate finds mistakes before the command does anything.
func (c *restoreCmd) Validate() error {
	if c.TXID != 0 && !c.Timestamp.IsZero() {
		return errors.New("--txid and --timestamp exclude each other")
	}
	if c.Rewind && c.TXID == 0 && c.Timestamp.IsZero() {
		return errors.New("--rewind needs --txid or --timestamp")
	}
	if c.Follow && (c.TXID != 0 || !c.Timestamp.IsZero() || c.IfDBNotExists) {
		return errors.New("--follow excludes --txid, --timestamp and --if-db-not-exists")
	}
	if c.Interval <= 0 {
		return errors.New("--interval: expected more than 0")
	}
	if c.DryRun && c.Follow {
		return errors.New("--dry-run and --follow exclude each other")
	}
	if c.Output == toStdout && (c.Follow || c.Rewind || c.Force || c.IfDBNotExists || c.JSON && !c.DryRun) {
		return errors.New("-o - excludes --follow, --rewind, --force, --if-db-not-exists and --json")
	}
	if c.Output == "" && isURL(c.Replica) && !c.DryRun {
		return errors.New("missing flags: --output=FILE (only a database that the configuration names has a default)")
	}
	return c.check()
}

func (c *restoreCmd) Run(a *app) error {
	store, path, err := c.open(a)
	if err != nil {
		return err
	}
	defer store.Close()
	c.Output = cmp.Or(c.Output, path)
	if c.IfDBNotExists && c.Output != "" {
		_, presence, err := restore.Look(c.Output)
		if err != nil {
			return err
		}
		if presence == restore.Present {
			return c.skip(a, "the database exists")
		}
	}

	switch {
	case c.DryRun:
		return c.dryRun(a, store)
	case c.Output == toStdout:
		return c.write(a, store)
	case c.Follow:
		return c.follow(a, store)
	}
	progress := a.newProgress(c.Quiet, fmt.Sprintf("%s: restoring from %s", c.Output, store))
	result, err := restore.Restore(a.ctx, store, c.Output, c.options(progress))
	progress.end()
	if errors.Is(err, restore.ErrNoReplica) && c.IfReplicaExists {
		return c.skip(a, "there is no replica at "+store.String())
	}
	if err != nil {
		return withNearest(a, store, err)
	}
	return c.done(a, store.String(), result)
}

func (c *restoreCmd) options(p *progress) restore.Options {
	return restore.Options{
		TXID:      format.TXID(c.TXID),
		Timestamp: c.Timestamp.Time,
		Force:     c.Force,
		Rewind:    c.Rewind,
		Progress:  p.update,
		Logger:    p.logger(),
	}
}

// restored is the output of --json. It uses Litestream's names where they exist.
type restored struct {
	DBPath     string      `json:"db_path"`
	Replica    string      `json:"replica,omitempty"`
	Skipped    string      `json:"skipped,omitempty"` // why nothing was restored
	TXID       format.TXID `json:"txid,omitzero"`
	Time       time.Time   `json:"time,omitzero"`
	PageSize   uint32      `json:"page_size,omitempty"`
	Pages      uint32      `json:"pages,omitempty"`
	Files      int         `json:"files,omitempty"`
	Bytes      int64       `json:"bytes,omitempty"`
	DurationMS int64       `json:"duration_ms"`
	Newest     format.TXID `json:"newest,omitzero"`   // the replica's newest TXID, if it differs
	Rewound    bool        `json:"rewound,omitempty"` // the restored state becomes the TXID after Newest
	Note       string      `json:"note,omitempty"`    // effect of opening an older state
}

// note describes what an application does that opens an older state with this replica. It
// is empty for the newest state.
func (c *restoreCmd) note(r restore.Result) string {
	switch {
	case r.TXID == r.Newest:
		return ""
	case c.Rewind:
		return fmt.Sprintf("an application that opens it with this replica uploads it as TXID %s and goes on from there", r.Newest+1)
	}
	return fmt.Sprintf("the replica has gone on to TXID %s: an application that opens this older state with it does not replicate, and restore=if-behind replaces it (--rewind puts it into production)", r.Newest)
}

func (c *restoreCmd) skip(a *app, why string) error {
	if c.JSON {
		return a.printJSON(restored{DBPath: c.Output, Skipped: why})
	}
	if c.Output == toStdout {
		a.stdout, c.Output = a.stderr, "standard output"
	}
	return c.say(a, "%s: nothing to restore: %s\n", cmp.Or(c.Output, c.Replica), why)
}

func (c *restoreCmd) done(a *app, replica string, r restore.Result) error {
	note := c.note(r)
	if c.JSON {
		out := restored{
			DBPath:     c.Output,
			Replica:    replica,
			TXID:       r.TXID,
			Time:       r.Time,
			PageSize:   r.PageSize,
			Pages:      r.Pages,
			Files:      r.Files,
			Bytes:      r.Bytes,
			DurationMS: r.Duration.Milliseconds(),
			Note:       note,
		}
		if note != "" {
			out.Newest, out.Rewound = r.Newest, c.Rewind
		}
		return a.printJSON(out)
	}
	err := c.say(a, "%s: restored TXID %s of %s: %d pages of %d bytes, from %s (%s) in %s\n",
		c.Output, r.TXID, r.Time.Format(time.RFC3339Nano), r.Pages, r.PageSize,
		count(r.Files, "file"), humanize.IBytes(uint64(r.Bytes)), r.Duration.Round(time.Millisecond))
	if note != "" && err == nil {
		err = c.say(a, "%s: %s\n", c.Output, note)
	}
	return err
}

func (c *restoreCmd) say(a *app, format string, args ...any) error {
	if c.Quiet {
		return nil
	}
	_, err := fmt.Fprintf(a.stdout, format, args...)
	return err
}
