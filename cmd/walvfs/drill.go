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
	Live string        `placeholder:"FILE" help:"Compare with this database too, which may be in use."`
	Wait time.Duration `default:"10s" help:"How long the replica may take to receive what the live database has beyond it."`
	Dir  string        `placeholder:"DIR" help:"Where to restore to; a new directory in it is removed afterwards. By default the system's directory for temporary files."`

	JSON  bool `name:"json" help:"Print the result as a JSON object."`
	Quiet bool `short:"q" help:"Print only what is wrong."`
}

// Help is shown below the synopsis.
func (*drillCmd) Help() string {
	return `A backup is as good as its last restore. This restores the newest state to a temporary place, runs SQLite's integrity_check on it, says how long that took, and removes it again. It needs as much free space as the database has.

A collation, a function, an extension or a tokenizer that only the application has keeps SQLite from checking the tables that use it. The other tables are checked, and these are said to be not checkable.

With --live, it also compares every page with a database that may be in use: a copy of it is made in one read transaction, which takes as much space again and keeps its log from starting over meanwhile. Of the first page, the counters that copying changes are left out. The live database may be ahead of the replica by what was just committed: a page that differs is no fault if the live database is seen with the content that the replica receives for it within --wait. More copies are made for that meanwhile. A page that changes too often to be seen so is said to be not checkable.

Examples:

	walvfs drill s3://bucket/app
	walvfs drill --live /var/lib/my-app/data.db /var/lib/my-app/data.db

Exit statuses: 0 restored and right, 1 failed, 2 wrong command line or configuration, 3 no replica at the URL, 4 restored and wrong, or not restorable because a file is damaged, 5 restored and not found wrong, but something is not checkable, 130 interrupted.`
}

// Validate finds mistakes before anything is done.
func (c *drillCmd) Validate() error { return c.check() }

// drilled is what --json prints.
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
	Unchecked []string    `json:"not_checkable"` // what could not be checked
	Live      *compared   `json:"live,omitempty"`
}

func (c *drillCmd) Run(a *app) error {
	store, _, err := c.open(a)
	if err != nil {
		return err
	}
	defer store.Close()
	if c.Live != "" { // before a restore that may take an hour
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
