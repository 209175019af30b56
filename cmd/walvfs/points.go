package main

import (
	"errors"
	"fmt"
	"text/tabwriter"
	"time"

	"github.com/dustin/go-humanize"

	"github.com/walvfs/walvfs/format"
	"github.com/walvfs/walvfs/shipper/replica"
)

type pointsCmd struct {
	replicaArg
	From timeFlag `placeholder:"TIME" help:"Leave out what is older than this time: 2026-01-02T15:04:05Z, '2026-01-02 15:04' or 2026-01-02 (UTC without a zone), 5m or '2 days ago'."`
	To   timeFlag `placeholder:"TIME" help:"Leave out states newer than this time."`
	All  bool     `help:"List every state. This reads a file's header for each state."`
	JSON bool     `name:"json" help:"Print each state, as a JSON array of objects."`
}

// Help is shown below the synopsis.
func (*pointsCmd) Help() string {
	return `A state can be restored if a snapshot and files that follow each other lead to it, and a file ends there. walvfs compacts uploads as they age, so older states are farther apart. The summary has one line for each distance: the median time between two states. An idle database commits nothing, so it has no states from that time.

Use these times with restore --timestamp and query --timestamp. A time between two states selects the older one.

The summary takes a listing and a few small requests. --all and --json take one more small request for each state.

Examples:

	walvfs points s3://bucket/app
	walvfs points --all --from '1 hour ago' s3://bucket/app
	walvfs points --json --from 2026-01-02 --to 2026-01-03 s3://bucket/app | jq -r '.[].txid'`
}

// Validate finds mistakes before the command does anything.
func (c *pointsCmd) Validate() error {
	if !c.From.IsZero() && !c.To.IsZero() && c.From.After(c.To.Time) {
		return errors.New("--from is after --to")
	}
	return c.check()
}

func (c *pointsCmd) Run(a *app) error {
	store, _, err := c.open(a)
	if err != nil {
		return err
	}
	defer store.Close()
	r := replica.New(store, replica.Options{})
	files, err := r.Files(a.ctx)
	if err != nil {
		return err
	}
	_, planErr := files.Plan(0)
	txids, err := r.Between(a.ctx, files, c.From.Time, c.To.Time)
	if err != nil {
		return err
	}
	switch {
	case planErr != nil && len(files.Restorable()) == 0:
		return r.PlanError(planErr)
	case c.All || c.JSON:
		err = c.list(a, r, files, txids)
	default:
		err = c.sum(a, r, files, txids)
	}
	if planErr != nil && err == nil {
		_, err = fmt.Fprintf(a.stderr, "walvfs: newer states cannot be restored: %v\n", r.PlanError(planErr))
	}
	return err
}

func (c *pointsCmd) list(a *app, r *replica.Replica, files replica.Files, txids []format.TXID) error {
	points, bad, err := r.Points(a.ctx, files, txids)
	if err != nil {
		return err
	}
	for _, f := range bad {
		fmt.Fprintf(a.stderr, "walvfs: passed over, damaged or removed: %s\n", r.Name(f))
	}
	if c.JSON {
		all := make([]point, len(points))
		for i, p := range points {
			all[i] = point{p.TXID, p.Time}
		}
		return a.printJSON(all)
	}
	w := tabwriter.NewWriter(a.stdout, 0, 8, 2, ' ', 0)
	fmt.Fprint(w, "TXID\tTIME\n")
	for _, p := range points {
		fmt.Fprintf(w, "%s\t%s\n", p.TXID, p.Time.Format(time.RFC3339Nano))
	}
	return w.Flush()
}

func (c *pointsCmd) sum(a *app, r *replica.Replica, files replica.Files, txids []format.TXID) error {
	spans, err := spansOf(a.ctx, r, files, txids)
	if err != nil {
		return err
	}
	if len(spans) == 0 {
		_, err := fmt.Fprintln(a.stdout, "no state of this period can be restored; a time in it means the newest state before it")
		return err
	}
	w := tabwriter.NewWriter(a.stdout, 0, 8, 2, ' ', 0)
	fmt.Fprint(w, "FROM\tTO\tSTATES\tAPART\n")
	for _, s := range spans {
		text := s.apartText()
		if s.Each && s.Points > 1 {
			text += ", every upload"
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", s.From.Time.Format(time.RFC3339Nano), s.To.Time.Format(time.RFC3339Nano), humanize.Comma(int64(s.Points)), text)
	}
	return w.Flush()
}
