package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"net/url"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/dustin/go-humanize"

	"github.com/walvfs/walvfs/format"
	"github.com/walvfs/walvfs/shipper/replica"
)

type infoCmd struct {
	replicaArg
	JSON bool `name:"json" help:"Print a JSON object."`
}

// Help is shown below the synopsis.
func (*infoCmd) Help() string {
	return `walvfs info shows the newest state and the size of the database, the time range in which states can be restored, how many there are and how far apart, the files of each level, and what they cost.

The costs are an estimate in US dollars, with the list prices of ` + pricesOf + ` for S3 Standard in us-east-1, Cloudflare R2, Google Cloud Storage in a single region, or Backblaze B2, depending on the URL; check your provider's prices. They do not include traffic, taxes and free allowances. Uploads are those of the last 24 hours.

Examples:

	walvfs info s3://bucket/app
	walvfs info --json /var/lib/my-app/data.db | jq .restorable.to.time`
}

// Validate finds mistakes before the command does anything.
func (c *infoCmd) Validate() error { return c.check() }

func (c *infoCmd) Run(a *app) error {
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
	i, err := describe(a.ctx, r, files)
	if err != nil {
		return err
	}
	if p, ok := priceOf(store.String(), c.endpoint(a)); ok {
		i.Cost = estimate(p, files, i.planned, time.Now())
	}
	if c.JSON {
		return a.printJSON(i)
	}
	return i.print(a.stdout)
}

// endpoint returns an endpoint that is not in the URL's host.
func (c *infoCmd) endpoint(a *app) string {
	raw, opts, _, err := c.resolve()
	if err != nil {
		return ""
	}
	u, err := url.Parse(raw)
	if err != nil {
		return ""
	}
	return cmp.Or(opts.Endpoint, u.Query().Get("endpoint"), a.getenv("AWS_ENDPOINT_URL_S3"), a.getenv("AWS_ENDPOINT_URL"))
}

// info is the output of --json.
type info struct {
	Replica    string      `json:"replica"`
	Tip        tip         `json:"tip"`
	Restorable *window     `json:"restorable,omitempty"` // nil if no state can be restored
	Problem    string      `json:"problem,omitempty"`    // why the tip cannot be restored
	Files      int         `json:"files"`
	Bytes      int64       `json:"bytes"`
	Levels     []levelInfo `json:"levels"`
	Cost       *cost       `json:"cost,omitempty"` // nil if the store has no known price

	planned int // number of files that a restore of the tip reads
}

// tip is the newest state.
type tip struct {
	point
	PageSize uint32 `json:"page_size"`
	Pages    uint32 `json:"pages"`
}

type point struct {
	TXID format.TXID `json:"txid"`
	Time time.Time   `json:"time"` // when it was committed
}

type window struct {
	From   point  `json:"from"`
	To     point  `json:"to"`
	Points int    `json:"points"` // TXIDs that can be restored, including from and to
	Each   point  `json:"each"`   // from here on, every TXID can be restored
	Spans  []span `json:"spans"`  // oldest first
}

type levelInfo struct {
	Level   int         `json:"level"`
	Files   int         `json:"files"`
	Bytes   int64       `json:"bytes"`
	MinTXID format.TXID `json:"min_txid"`
	MaxTXID format.TXID `json:"max_txid"`
	Written time.Time   `json:"written"` // the newest file
}

// describe makes a few requests: for the headers of the files at the newest TXID and at
// the ends of the restorable range.
func describe(ctx context.Context, r *replica.Replica, files replica.Files) (*info, error) {
	i := &info{Replica: r.String(), Files: len(files)}
	for _, f := range files {
		i.Bytes += f.Size
		i.addLevel(f)
	}
	newest := files.Newest()
	h, err := r.HeaderAt(ctx, files, newest)
	if err != nil {
		return nil, err
	}
	i.Tip = tip{pointOf(h), h.PageSize, h.Commit}
	plan, planErr := files.Plan(newest)
	if planErr != nil {
		i.Problem = strings.TrimPrefix(planErr.Error(), "format: ")
	}
	for _, f := range plan.Apply {
		if f.Size < format.LTXHeaderSize+format.LTXTrailerSize {
			i.Problem = fmt.Sprintf("%s is needed for the newest state, and damaged: it has %d bytes", r.Key(f), f.Size)
		}
	}
	if i.Restorable, err = windowOf(ctx, r, files); err != nil {
		return nil, err
	}
	i.planned = len(plan.Apply)
	return i, nil
}

func (i *info) addLevel(f replica.File) {
	if n := len(i.Levels); n == 0 || i.Levels[n-1].Level != f.Level {
		i.Levels = append(i.Levels, levelInfo{Level: f.Level, MinTXID: f.MinTXID})
	}
	l := &i.Levels[len(i.Levels)-1]
	l.Files++
	l.Bytes += f.Size
	l.MaxTXID = max(l.MaxTXID, f.MaxTXID)
	if f.Written.After(l.Written) {
		l.Written = f.Written.UTC()
	}
}

func windowOf(ctx context.Context, r *replica.Replica, files replica.Files) (*window, error) {
	spans, err := spansOf(ctx, r, files, files.Restorable())
	if err != nil || len(spans) == 0 {
		return nil, err
	}
	last := spans[len(spans)-1]
	w := &window{From: spans[0].From, To: last.To, Each: last.To, Spans: spans}
	if last.Each {
		w.Each = last.From
	}
	for _, s := range spans {
		w.Points += s.Points
	}
	return w, nil
}

func pointOf(h format.LTXHeader) point {
	return point{h.MaxTXID, time.UnixMilli(h.Timestamp).UTC()}
}

func (i *info) print(out io.Writer) error {
	w := tabwriter.NewWriter(out, 0, 8, 2, ' ', 0)
	line := func(name, format string, args ...any) {
		fmt.Fprintf(w, "%s\t"+format+"\n", append([]any{name}, args...)...)
	}
	line("replica", "%s", i.Replica)
	line("newest state", "TXID %s of %s (%s)", i.Tip.TXID, i.Tip.Time.Format(time.RFC3339Nano), humanize.Time(i.Tip.Time))
	line("database", "%s: %s pages of %d bytes", humanize.IBytes(uint64(i.Tip.Pages)*uint64(i.Tip.PageSize)), humanize.Comma(int64(i.Tip.Pages)), i.Tip.PageSize)
	if r := i.Restorable; r == nil {
		line("restorable", "nothing")
	} else {
		line("restorable", "%s, from TXID %s of %s to TXID %s of %s", count(r.Points, "state"),
			r.From.TXID, r.From.Time.Format(time.RFC3339Nano), r.To.TXID, r.To.Time.Format(time.RFC3339Nano))
		for _, s := range slices.Backward(r.Spans) {
			if r.Points > 1 {
				line("", "%s", s.text())
			}
		}
	}
	if i.Problem != "" {
		line("problem", "%s", i.Problem)
	}
	line("size", "%s, %s", count(i.Files, "file"), humanize.IBytes(uint64(i.Bytes)))
	if c := i.Cost; c != nil {
		line("cost", "%s a month to store, %s a month for %s uploads a day, %s to restore once, without traffic",
			dollars(c.StorageMonth), dollars(c.UploadsMonth), humanize.Comma(int64(c.UploadsDay)), dollars(c.Restore))
		line("", "an estimate with prices of %s, %s", c.Store, c.Prices)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	fmt.Fprint(w, "\nLEVEL\tFILES\tSIZE\tMIN TXID\tMAX TXID\tWRITTEN\n")
	for _, l := range i.Levels {
		fmt.Fprintf(w, "%d\t%s\t%s\t%s\t%s\t%s\n", l.Level, humanize.Comma(int64(l.Files)), humanize.IBytes(uint64(l.Bytes)), l.MinTXID, l.MaxTXID, l.Written.Format(time.RFC3339))
	}
	return w.Flush()
}
