package main

import (
	"errors"
	"fmt"
	"text/tabwriter"
	"time"

	"github.com/dustin/go-humanize"

	"github.com/walvfs/walvfs/format"
	"github.com/walvfs/walvfs/shipper/restore"
	"github.com/walvfs/walvfs/shipper/storage"
)

// foreseen is the output of restore --dry-run --json. Names are those of a restore.
type foreseen struct {
	DBPath   string         `json:"db_path,omitempty"`
	Replica  string         `json:"replica"`
	DryRun   bool           `json:"dry_run"`
	TXID     format.TXID    `json:"txid"`
	Time     time.Time      `json:"time"`
	PageSize uint32         `json:"page_size"`
	Pages    uint32         `json:"pages"`
	Files    int            `json:"files"`
	Bytes    int64          `json:"bytes"` // to download
	Plan     []foreseenFile `json:"plan"`  // in the order of application
	Lists    int            `json:"list_requests"`
	Reads    int            `json:"read_requests"`

	EstimateMS int64 `json:"estimate_ms"`
	Sampled    int64 `json:"sampled_bytes"` // bytes read for the estimate
	SampledMS  int64 `json:"sampled_ms"`

	Newest format.TXID `json:"newest"`
	Note   string      `json:"note,omitempty"` // effect of opening an older state
}

type foreseenFile struct {
	Level   int         `json:"level"`
	MinTXID format.TXID `json:"min_txid"`
	MaxTXID format.TXID `json:"max_txid"`
	Size    int64       `json:"size"`
	Key     string      `json:"key"`
}

// dryRun is restore --dry-run.
func (c *restoreCmd) dryRun(a *app, store storage.Store) error {
	target := c.Output
	if target == toStdout {
		target = ""
	}
	progress := a.newProgress(c.Quiet, "")
	p, err := restore.Prepare(a.ctx, store, target, c.options(progress))
	if errors.Is(err, restore.ErrNoReplica) && c.IfReplicaExists {
		return c.skip(a, "there is no replica at "+store.String())
	}
	if err != nil {
		return withNearest(a, store, err)
	}
	e, err := p.Estimate(a.ctx)
	if err != nil {
		return err
	}
	h := p.Header
	f := foreseen{
		DBPath: target, Replica: store.String(), DryRun: true,
		TXID: h.MaxTXID, Time: time.UnixMilli(h.Timestamp).UTC(), PageSize: h.PageSize, Pages: h.Commit,
		Files: len(p.Plan.Apply), Bytes: p.Plan.Bytes(), Lists: p.Lists, Reads: p.Reads,
		EstimateMS: e.Duration.Milliseconds(), Sampled: e.Sampled, SampledMS: e.Took.Milliseconds(),
		Newest: p.Newest,
		Note:   c.note(restore.Result{TXID: h.MaxTXID, Newest: p.Newest}),
	}
	for _, info := range p.Plan.Apply {
		f.Plan = append(f.Plan, foreseenFile{info.Level, info.MinTXID, info.MaxTXID, info.Size, p.Key(info)})
	}
	if c.JSON {
		return a.printJSON(f)
	}
	return f.print(a, e)
}

func (f *foreseen) print(a *app, e restore.Estimate) error {
	w := tabwriter.NewWriter(a.stdout, 0, 8, 2, ' ', 0)
	line := func(name, format string, args ...any) {
		fmt.Fprintf(w, "%s\t"+format+"\n", append([]any{name}, args...)...)
	}
	line("replica", "%s", f.Replica)
	if f.DBPath != "" {
		line("would write", "%s", f.DBPath)
	}
	line("state", "TXID %s of %s", f.TXID, f.Time.Format(time.RFC3339Nano))
	line("database", "%s: %s pages of %d bytes", humanize.IBytes(uint64(f.Pages)*uint64(f.PageSize)), humanize.Comma(int64(f.Pages)), f.PageSize)
	line("download", "%s in %s, with about %s, and %s", humanize.IBytes(uint64(f.Bytes)), count(f.Files, "file"),
		count(f.Reads, "request"), count(f.Lists, "request")+" to list")
	line("time", "about %s to download, if this machine decompresses and writes as fast", roundTime(e.Duration))
	line("", "estimated from %s, which took %s", humanize.IBytes(uint64(e.Sampled)), roundTime(e.Took))
	if f.Note != "" {
		line("note", "%s", f.Note)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	fmt.Fprint(w, "\nLEVEL\tMIN TXID\tMAX TXID\tSIZE\n")
	for _, p := range f.Plan {
		fmt.Fprintf(w, "%d\t%s\t%s\t%s\n", p.Level, p.MinTXID, p.MaxTXID, humanize.IBytes(uint64(p.Size)))
	}
	return w.Flush()
}

// roundTime keeps two or three digits.
func roundTime(d time.Duration) time.Duration {
	unit := time.Microsecond
	for _, u := range []time.Duration{time.Millisecond, 100 * time.Millisecond, time.Second} {
		if d >= 10*u {
			unit = u
		}
	}
	return d.Round(unit)
}
