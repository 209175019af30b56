package compare

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"
)

// bench measures what the arguments ask for, prints tables, and writes files.
func bench(ctx context.Context, args []string, out io.Writer) error {
	o, err := parseFlags(args, out)
	if err != nil {
		return err
	}
	if o.from != "" {
		return o.showAgain(out)
	}
	if err := o.tryFiles(); err != nil {
		return err
	}
	report, err := o.measure(ctx, out)
	if len(report.Comparisons) > 0 { // even if it was interrupted
		err = errors.Join(err, o.write(report))
	}
	return err
}

// options are the flags.
type options struct {
	quick      bool
	rounds     int
	duration   time.Duration
	workloads  list
	stores     list
	peers      list
	json, html string
	from       string
	profiles   profiles
}

// list is a flag of names, with commas between them.
type list struct {
	chosen []string
	known  []string
}

func (l *list) String() string { return strings.Join(l.chosen, ",") }

// Set accepts known names only.
func (l *list) Set(value string) error {
	l.chosen = nil
	for name := range strings.SplitSeq(value, ",") {
		name = strings.TrimSpace(name)
		if !slices.Contains(l.known, name) {
			return fmt.Errorf("there is no %q; expected some of %s", name, strings.Join(l.known, ","))
		}
		l.chosen = append(l.chosen, name)
	}
	return nil
}

func parseFlags(args []string, out io.Writer) (*options, error) {
	o := &options{}
	for _, w := range workloads {
		o.workloads.known = append(o.workloads.known, w.Name)
	}
	for _, s := range storeKinds {
		o.stores.known = append(o.stores.known, s.Name)
	}
	for _, p := range peers {
		o.peers.known = append(o.peers.known, p.Name)
	}
	f := flag.NewFlagSet("bench", flag.ContinueOnError)
	f.BoolVar(&o.quick, "quick", false, "a first impression: two seconds and two rounds of each")
	f.IntVar(&o.rounds, "rounds", 0, "`number` of rounds, in each of which all peers take turns (default 5)")
	f.DurationVar(&o.duration, "duration", 0, "how long each peer works in a round (default 5s; idle: 30s, cost: 10m)")
	f.Var(&o.workloads, "workload", "`names` with commas: "+strings.Join(o.workloads.known, ",")+" (default all but cost)")
	f.Var(&o.stores, "store", "`names` with commas: "+strings.Join(o.stores.known, ",")+" (default versitygw, and all for paced)")
	f.Var(&o.peers, "peers", "`names` with commas, the first is what the others are compared with: "+strings.Join(o.peers.known, ",")+" (default all that make sense)")
	f.StringVar(&o.json, "json", "", "write all runs to this `file`")
	f.StringVar(&o.html, "html", "", "write a page with plots to this `file`")
	f.StringVar(&o.from, "from", "", "measure nothing: show what an earlier -json wrote to this `file`")
	f.StringVar(&o.profiles.CPU, "cpuprofile", "", "write CPU profiles of the application to `file`.WORKLOAD.STORE.PEER.ROUND")
	f.StringVar(&o.profiles.Memory, "memprofile", "", "the same of its allocations, to `file`...")
	f.StringVar(&o.profiles.Trace, "trace", "", "the same of its execution, to `file`...")
	f.SetOutput(io.Discard) // the error is printed once, by main
	switch err := f.Parse(args); {
	case errors.Is(err, flag.ErrHelp):
		f.SetOutput(out)
		fmt.Fprintln(out, "Usage: go run ./bench [flags]")
		f.PrintDefaults()
		return nil, err
	case err != nil:
		return nil, err
	}
	switch {
	case f.NArg() > 0:
		return nil, fmt.Errorf("unexpected %q: all arguments are flags", f.Arg(0))
	case o.duration < 0, o.rounds < 0:
		return nil, errors.New("-duration and -rounds cannot be negative")
	}
	return o, nil
}

// tryFiles finds out what cannot be written before an hour of measuring.
func (o *options) tryFiles() error {
	for _, path := range []string{o.json, o.html} {
		if path == "" {
			continue
		}
		f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY, 0o644)
		if err != nil {
			return err
		}
		f.Close()
	}
	return nil
}

// write writes the files that were asked for.
func (o *options) write(r *Report) error {
	var errs []error
	if o.json != "" {
		errs = append(errs, r.writeJSON(o.json))
	}
	if o.html != "" {
		errs = append(errs, r.writeHTML(o.html))
	}
	return errors.Join(errs...)
}

// showAgain prints and writes an earlier report.
func (o *options) showAgain(out io.Writer) error {
	r, err := readReport(o.from)
	if err != nil {
		return err
	}
	for _, c := range r.Comparisons {
		printComparison(out, c)
	}
	return o.write(r)
}
