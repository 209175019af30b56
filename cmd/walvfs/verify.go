package main

import (
	"fmt"
	"time"

	"github.com/dustin/go-humanize"

	"github.com/walvfs/walvfs/shipper/restore"
	"github.com/walvfs/walvfs/shipper/verify"
)

type verifyCmd struct {
	replicaArg
	JSON  bool `name:"json" help:"Print the result as a JSON object."`
	Quiet bool `short:"q" help:"Print errors only."`
}

// Help is shown below the synopsis.
func (*verifyCmd) Help() string {
	return `walvfs verify reads every file of every level, and checks:

	- each file's size, checksum, page order and TXIDs
	- that no TXID is missing, and none is only in snapshots
	- that a file of a higher level has the pages of the lower-level files that it replaces, as far as those still exist; a snapshot, the whole database
	- that the newest TXID can be restored

For each damaged file, it reports what the damage costs: the transactions that cannot be restored without the file. Often there are none, because a file of another level leads to the same transactions, and walvfs restore uses that file.

verify writes nothing and stores nothing locally. It takes 16 bytes of memory for each page of the database. It ignores files that retention removes meanwhile.

Examples:

	walvfs verify s3://bucket/app

	# From cron, which sends mail if there is output.
	0 4 * * 0  walvfs verify --quiet s3://bucket/app

Exit statuses: 0 no error, 1 the replica could not be read, 2 wrong command line or configuration, 3 no replica at the URL, 4 an error in the replica, 130 interrupted.`
}

// Validate finds mistakes before the command does anything.
func (c *verifyCmd) Validate() error { return c.check() }

func (c *verifyCmd) Run(a *app) error {
	store, _, err := c.open(a)
	if err != nil {
		return err
	}
	defer store.Close()
	progress := a.newProgress(c.Quiet, "verifying "+store.String())
	r, err := verify.Run(a.ctx, store, verify.Options{
		Progress: func(p verify.Progress) { progress.update(restore.Progress(p)) },
		Logger:   progress.logger(),
		Found: func(p verify.Problem) {
			if !c.JSON {
				fmt.Fprintln(a.stdout, p)
			}
		},
	})
	progress.end()
	if err != nil {
		return err
	}
	if err := c.print(a, r); err != nil {
		return err
	}
	if !r.OK {
		return errDamaged
	}
	return nil
}

func (c *verifyCmd) print(a *app, r *verify.Result) error {
	switch {
	case c.JSON:
		return a.printJSON(r)
	case !r.OK:
		for _, p := range r.Problems {
			if p.Cost != "" {
				fmt.Fprintf(a.stdout, "%s: what it costs: %s\n", p.Key, p.Cost)
			}
		}
		_, err := fmt.Fprintf(a.stdout, "%s: damaged: %s found in %s (%s); %s\n", r.Replica,
			count(len(r.Problems), "problem"), count(r.Files, "file"), humanize.IBytes(uint64(r.Bytes)), restorable(r))
		return err
	case !c.Quiet:
		_, err := fmt.Fprintf(a.stdout, "%s: ok: %s, %s; the newest state is TXID %s of %s, with %s pages of %d bytes\n", r.Replica,
			count(r.Files, "file"), humanize.IBytes(uint64(r.Bytes)), r.TXID, r.Time.Format(time.RFC3339Nano), humanize.Comma(int64(r.Pages)), r.PageSize)
		return err
	}
	return nil
}

func restorable(r *verify.Result) string {
	switch r.Restorable {
	case 0:
		return "nothing can be restored"
	case r.TXID:
		return "the newest state, TXID " + r.TXID.String() + ", can be restored"
	}
	return "TXID " + r.Restorable.String() + " is the newest that can be restored"
}
