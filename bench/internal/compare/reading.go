package compare

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"
)

// reading compares programs that read a replica as a database, each in its own processes.
func reading(ctx context.Context, args []string, out io.Writer) error {
	o, err := parseReadingFlags(args, out)
	if err != nil {
		return err
	}
	var r *ReadingReport
	err = lend(ctx, func(l *lender) (err error) {
		r, err = o.measure(l, out)
		return err
	})
	if r == nil {
		return err
	}
	r.print(out)
	if o.json != "" {
		b, jsonErr := json.MarshalIndent(r, "", "\t")
		err = errors.Join(err, jsonErr, os.WriteFile(o.json, append(b, '\n'), 0o644))
	}
	return err
}

// readingOptions are the flags of reading.
type readingOptions struct {
	quick    bool
	size     int64 // bytes of the database
	scan     int64 // bytes of it to scan
	files    int   // level 0 files after the snapshot
	rounds   int
	latency  time.Duration
	idle     time.Duration
	limit    time.Duration
	peers    list
	storeDir string
	json     string
}

func parseReadingFlags(args []string, out io.Writer) (*readingOptions, error) {
	o := &readingOptions{}
	for _, p := range readingPeers {
		o.peers.known = append(o.peers.known, p.Name)
	}
	var size, scan int
	f := flag.NewFlagSet("bench reading", flag.ContinueOnError)
	f.BoolVar(&o.quick, "quick", false, "a first impression: -size 50 -scan 25 -rounds 1 -idle 2s -limit 5s, unless other flags say otherwise")
	f.IntVar(&size, "size", 0, "`MiB` of the database (default 10240)")
	f.IntVar(&scan, "scan", 0, "`MiB` of it that are scanned (default 1024)")
	f.IntVar(&o.files, "files", 45, "`number` of commits after the snapshot, each a file of the replica")
	f.IntVar(&o.rounds, "rounds", 0, "`number` of rounds, in each of which all peers take turns (default 3)")
	f.DurationVar(&o.latency, "latency", addedLatency, "added to each request")
	f.DurationVar(&o.idle, "idle", 0, "how long requests of idle connections are counted (default 30s)")
	f.DurationVar(&o.limit, "limit", 0, "how long one figure may take: some peers would scan for hours (default 2m)")
	f.Var(&o.peers, "peers", "`names` with commas, of those below (default all that can be built)")
	f.StringVar(&o.storeDir, "store-dir", os.TempDir(), "`directory` for what the store keeps: as much as the database")
	f.StringVar(&o.json, "json", "", "write all figures to this `file`")
	f.SetOutput(io.Discard) // main prints the error once
	switch err := f.Parse(args); {
	case errors.Is(err, flag.ErrHelp):
		f.SetOutput(out)
		fmt.Fprintln(out, "Usage: go run -C bench . reading [flags]")
		f.PrintDefaults()
		fmt.Fprintln(out, "\nPeers:")
		for _, p := range readingPeers {
			fmt.Fprintf(out, "  %-18s%s\n", p.Name, p.About)
		}
		return nil, err
	case err != nil:
		return nil, err
	}
	byDefault := func(v *int, quick, otherwise int) {
		if *v == 0 && o.quick {
			*v = quick
		} else if *v == 0 {
			*v = otherwise
		}
	}
	byDefault(&size, 50, 10<<10)
	byDefault(&scan, 25, 1<<10)
	byDefault(&o.rounds, 1, 3)
	idle, limit := 30*time.Second, 2*time.Minute
	if o.quick {
		idle, limit = 2*time.Second, 5*time.Second
	}
	o.idle, o.limit = cmp.Or(o.idle, idle), cmp.Or(o.limit, limit)
	o.size, o.scan = int64(size)<<20, int64(min(scan, size/2))<<20
	switch {
	case f.NArg() > 0:
		return nil, fmt.Errorf("unexpected %q: all arguments are flags", f.Arg(0))
	case size < 20 || scan < 1 || o.rounds < 1 || o.files < 2 || o.idle < 0 || o.limit < 0 || o.latency < 0:
		return nil, errors.New("-size is at least 20, -files at least 2, and other flags are positive")
	}
	return o, nil
}

// A ReadingReport is the result of reading.
type ReadingReport struct {
	Time     time.Time         `json:"time"`
	Machine  Machine           `json:"machine"`
	Size     int64             `json:"database_bytes"`
	Rows     int64             `json:"rows"`
	Files    int               `json:"files"`
	Latency  string            `json:"added_latency"`
	Rounds   int               `json:"rounds"`
	Limit    string            `json:"limit"`
	Missing  map[string]string `json:"missing,omitempty"` // peers that take no part, and the reason
	Readings []*Reading        `json:"readings"`
}

// A Reading is one figure of one peer, for each round in which it answered.
type Reading struct {
	What    string    `json:"what"`
	Peer    string    `json:"peer"`
	Seconds []float64 `json:"seconds"`
	Traffic []traffic `json:"traffic"` // empty for a local file
	Memory  []float64 `json:"memory_bytes"`
	Over    int       `json:"over,omitempty"` // how often the limit was reached
	Errors  []string  `json:"errors,omitempty"`
}

// reading returns the figure of a peer, and adds it if it is missing.
func (r *ReadingReport) reading(what, peer string) *Reading {
	i := slices.IndexFunc(r.Readings, func(f *Reading) bool { return f.What == what && f.Peer == peer })
	if i >= 0 {
		return r.Readings[i]
	}
	f := &Reading{What: what, Peer: peer}
	r.Readings = append(r.Readings, f)
	return f
}

func (o *readingOptions) measure(l *lender, out io.Writer) (*ReadingReport, error) {
	putStores(o.storeDir)
	r := &ReadingReport{Time: time.Now().UTC(), Machine: thisMachine(), Latency: o.latency.String(), Rounds: o.rounds, Limit: o.limit.String(), Missing: map[string]string{}}
	peers := o.build(l, r.Missing)
	var names []string
	for _, p := range peers {
		names = append(names, p.Name)
	}
	fmt.Fprintf(out, "making a replica of %d MiB, and one of a tenth with a scattered schema\n", o.size>>20)
	main, err := newReadingData(l, o, o.size, 0)
	if err != nil {
		return nil, err
	}
	scattered, err := newReadingData(l, o, max(o.size/10, 10<<20), 150)
	if err != nil {
		return nil, err
	}
	r.Size, r.Rows, r.Files = main.bytes, main.rows, 1+o.files
	fmt.Fprintf(out, "%d rows, %d files, %d rounds of %s\n", r.Rows, r.Files, o.rounds, strings.Join(names, ", "))
	for round := range o.rounds {
		for _, p := range peers {
			s := &readingSession{options: o, report: r, peer: p, round: round}
			if err := s.run(l.Context(), main, scattered); err != nil {
				return r, fmt.Errorf("%s: %w", p.Name, err)
			}
		}
	}
	return r, nil
}
