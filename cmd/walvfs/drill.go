package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/ncruces/go-sqlite3"

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

With --live, it also compares every page with a database that may be in use: a copy of it is made in one read transaction, which takes as much space again and keeps its log from starting over meanwhile. Of the first page, the counters that copying changes are left out. The live database may be ahead of the replica by what was just committed: pages that differ are no fault if the replica receives them within --wait.

Examples:

	walvfs drill s3://bucket/app
	walvfs drill --live /var/lib/my-app/data.db /var/lib/my-app/data.db

Exit statuses: 0 restored and right, 1 failed, 2 wrong command line or configuration, 3 no replica at the URL, 4 restored and wrong, or not restorable because a file is damaged, 130 interrupted.`
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

	d := &drilled{Replica: store.String(), Problems: []string{}}
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
	if d.Problems, err = integrityCheck(a.ctx, restored); err != nil {
		return err
	}
	d.CheckMS = time.Since(start).Milliseconds()
	if c.Live != "" {
		l := &liveComparison{store: store, restored: restored, live: c.Live, copy: filepath.Join(dir, "live.db"), result: r, wait: c.Wait}
		if d.Live, err = l.run(a.ctx); err != nil {
			return err
		}
		if d.Live.Problem != "" {
			d.Problems = append(d.Problems, d.Live.Problem)
		}
	}
	return c.done(a, d)
}

func (c *drillCmd) done(a *app, d *drilled) error {
	d.OK = len(d.Problems) == 0
	if err := c.print(a, d); err != nil {
		return err
	}
	if !d.OK {
		return errDamaged
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
	if c.Quiet || d.TXID == 0 {
		return nil
	}
	_, err := fmt.Fprintf(a.stdout, "%s: restored TXID %s of %s: %s pages of %d bytes, from %s (%s) in %s\n", d.Replica,
		d.TXID, d.Time.Format(time.RFC3339), humanize.Comma(int64(d.Pages)), d.PageSize,
		count(d.Files, "file"), humanize.IBytes(uint64(d.Bytes)), time.Duration(d.RestoreMS)*time.Millisecond)
	if err == nil && d.OK {
		_, err = fmt.Fprintf(a.stdout, "%s: ok: integrity_check in %s%s\n", d.Replica, time.Duration(d.CheckMS)*time.Millisecond, d.Live.summary(c.Live))
	}
	return err
}

// integrityCheck returns what SQLite finds wrong with a database.
func integrityCheck(ctx context.Context, path string) ([]string, error) {
	db, err := sqlite3.OpenContext(ctx, fileURI(path)+"?immutable=1")
	if err != nil {
		return nil, err
	}
	defer db.Close()
	db.SetInterrupt(ctx)
	stmt, _, err := db.Prepare(`PRAGMA integrity_check`)
	if err != nil {
		// What cannot even be opened is not a fault of ours.
		return []string{"integrity_check: " + err.Error()}, ctx.Err()
	}
	defer stmt.Close()
	wrong := []string{}
	for stmt.Step() {
		if s := stmt.ColumnText(0); s != "ok" {
			wrong = append(wrong, "integrity_check: "+s)
		}
	}
	if err := stmt.Err(); err != nil {
		wrong = append(wrong, "integrity_check: "+err.Error())
	}
	return wrong, ctx.Err()
}
