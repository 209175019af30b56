package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/dustin/go-humanize"

	"github.com/walvfs/walvfs/format"
	"github.com/walvfs/walvfs/shipper/restore"
)

type drillCmd struct {
	replicaArg
	Live string        `placeholder:"FILE" help:"Also compare with this database, which may be in use."`
	Wait time.Duration `default:"10s" help:"How long to wait until the replica has received what the live database has committed."`
	Dir  string        `placeholder:"DIR" help:"Where to make the temporary directory. By default in the system's directory for temporary files."`

	JSON  bool `name:"json" help:"Print the result as a JSON object."`
	Quiet bool `short:"q" help:"Print errors only."`
}

// Help is shown below the synopsis.
func (*drillCmd) Help() string {
	return `walvfs drill restores the newest state to a temporary directory, runs SQLite's integrity_check on it, reports how long that took, and removes it. It needs as much free space as the database has.

If a table uses a collation, a function, an extension or a tokenizer that only your application has, SQLite cannot check it. drill reports such tables as not checkable, and checks the others.

With --live, drill also compares every page with a database, which may be in use. It copies that database in one read transaction. The copy takes as much space again, and SQLite cannot restart the log meanwhile. The comparison ignores the counters on the first page that copying changes. The live database may be ahead of the replica: a page may differ if the replica receives the same content within --wait. drill makes more copies to find out. It reports a page that changes too often for that as not checkable.

Examples:

	walvfs drill s3://bucket/app
	walvfs drill --live /var/lib/my-app/data.db /var/lib/my-app/data.db

Exit statuses: 0 restored without an error, 1 failed, 2 wrong command line or configuration, 3 no replica at the URL, 4 an error in the restored database, or not restorable because a file is damaged, 5 no error found, but something is not checkable, 130 interrupted.`
}

// Validate finds mistakes before the command does anything.
func (c *drillCmd) Validate() error { return c.check() }

// drilled is the output of --json.
type drilled struct {
	Replica   string      `json:"replica"`
	OK        bool        `json:"ok"`
	Problems  []string    `json:"problems"`
	TXID      format.TXID `json:"txid,omitzero"`
	Time      time.Time   `json:"time,omitzero"`
	PageSize  uint32      `json:"page_size,omitempty"`
	Pages     uint32      `json:"pages,omitempty"`
	Files     int         `json:"files,omitempty"`
	Bytes     int64       `json:"bytes,omitempty"`
	RestoreMS int64       `json:"restore_ms,omitempty"`
	CheckMS   int64       `json:"check_ms,omitempty"`
	Unchecked []string    `json:"not_checkable"` // checks that were not possible
	Live      *compared   `json:"live,omitempty"`
}

func (c *drillCmd) Run(a *app) error {
	store, _, err := c.open(a)
	if err != nil {
		return err
	}
	defer store.Close()
	if c.Live != "" { // check before a restore that may take an hour
		if info, err := os.Stat(c.Live); err != nil {
			return fmt.Errorf("--live: %w", err)
		} else if info.IsDir() {
			return fmt.Errorf("--live: %s is a directory, and not a database", c.Live)
		}
	}
	dir, err := os.MkdirTemp(c.Dir, "walvfs-drill-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)

	d := &drilled{Replica: store.String(), Problems: []string{}, Unchecked: []string{}}
	restored := filepath.Join(dir, "restored.db")
	progress := a.newProgress(c.Quiet, "restoring from "+store.String())
	r, err := restore.Restore(a.ctx, store, restored, restore.Options{Progress: progress.update, Logger: progress.logger()})
	progress.end()
	if err != nil {
		if _, gap := errors.AsType[*format.GapError](err); !gap && !errors.Is(err, format.ErrCorrupt) {
			return err
		}
		message, _ := remedy(err)
		d.Problems = append(d.Problems, message)
		return c.done(a, d)
	}
	d.TXID, d.Time, d.PageSize, d.Pages = r.TXID, r.Time, r.PageSize, r.Pages
	d.Files, d.Bytes, d.RestoreMS = r.Files, r.Bytes, r.Duration.Milliseconds()

	start := time.Now()
	checked, err := integrityCheck(a.ctx, restored)
	if err != nil {
		return err
	}
	d.Problems, d.Unchecked = checked.wrong, checked.unchecked
	d.CheckMS = time.Since(start).Milliseconds()
	if c.Live != "" {
		l := &liveComparison{store: store, restored: restored, live: c.Live, copy: filepath.Join(dir, "live.db"), result: r, wait: c.Wait}
		if d.Live, err = l.run(a.ctx); err != nil {
			return err
		}
		if d.Live.Problem != "" {
			d.Problems = append(d.Problems, d.Live.Problem)
		}
		if d.Live.Unchecked != "" {
			d.Unchecked = append(d.Unchecked, d.Live.Unchecked)
		}
	}
	return c.done(a, d)
}

func (c *drillCmd) done(a *app, d *drilled) error {
	d.OK = len(d.Problems) == 0 && len(d.Unchecked) == 0
	if err := c.print(a, d); err != nil {
		return err
	}
	switch {
	case len(d.Problems) > 0:
		return errDamaged
	case len(d.Unchecked) > 0:
		return errNotCheckable
	}
	return nil
}

func (c *drillCmd) print(a *app, d *drilled) error {
	if c.JSON {
		return a.printJSON(d)
	}
	for _, p := range d.Problems {
		if _, err := fmt.Fprintf(a.stdout, "%s: %s\n", d.Replica, p); err != nil {
			return err
		}
	}
	for _, u := range d.Unchecked {
		if _, err := fmt.Fprintf(a.stdout, "%s: not checkable: %s\n", d.Replica, u); err != nil {
			return err
		}
	}
	if c.Quiet || d.TXID == 0 {
		return nil
	}
	_, err := fmt.Fprintf(a.stdout, "%s: restored TXID %s of %s: %s pages of %d bytes, from %s (%s) in %s\n", d.Replica,
		d.TXID, d.Time.Format(time.RFC3339Nano), humanize.Comma(int64(d.Pages)), d.PageSize,
		count(d.Files, "file"), humanize.IBytes(uint64(d.Bytes)), time.Duration(d.RestoreMS)*time.Millisecond)
	if err == nil && d.OK {
		_, err = fmt.Fprintf(a.stdout, "%s: ok: integrity_check in %s%s\n", d.Replica, time.Duration(d.CheckMS)*time.Millisecond, d.Live.summary(c.Live))
	}
	return err
}
