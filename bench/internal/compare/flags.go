package compare

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

// bench makes the measurements that the arguments name, prints tables, and writes files.
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
	if len(report.Comparisons) > 0 { // even after an interrupt
		err = errors.Join(err, o.write(report))
	}
	return err
}

// options are the flags.
type options struct {
	quick      bool
	size       int // MiB
	storeDir   string
	rounds     int
	duration   time.Duration
	workloads  list
	stores     list
	peers      list
	json, html string
	from       string
	profiles   profiles
}

// list is a flag of names, separated by commas.
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
	f.BoolVar(&o.quick, "quick", false, fmt.Sprintf("a first impression: %d rounds of %s of -workload %s -store %s -peers %s, unless other flags say otherwise",
		quick.rounds, quick.duration, strings.Join(quick.workloads, ","), strings.Join(quick.stores, ","), strings.Join(quick.peers, ",")))
	f.IntVar(&o.rounds, "rounds", 0, "`number` of rounds, in each of which all peers take turns (default 5; commit-long and paced-2s: 3, reopen: 2, idle, first-snapshot and cost: 1)")
	f.DurationVar(&o.duration, "duration", 0, "how long each peer works in a round (default 5s; paced-2s: 41s, reopen, idle and first-snapshot: 1m, commit-long: 75s, cost: 10m; speedtest1: until it ends)")
	f.Var(&o.workloads, "workload", "`names` with commas, of those below (default all but first-snapshot, cost and cost-quiet)")
	f.IntVar(&o.size, "size", 10<<10, "`MiB` that the database of first-snapshot has")
	f.StringVar(&o.storeDir, "store-dir", elsewhere(), "`directory` for what stores keep, better not on the databases' file system")
	f.Var(&o.stores, "store", "`names` with commas, of those below (default versitygw, and all for paced)")
	f.Var(&o.peers, "peers", "`names` with commas, of those below; the first is what the others are compared with (default all that make sense)")
	f.StringVar(&o.json, "json", "", "write all runs to this `file`")
	f.StringVar(&o.html, "html", "", "write a page with plots to this `file`")
	f.StringVar(&o.from, "from", "", "measure nothing: show what an earlier -json wrote to this `file`")
	f.StringVar(&o.profiles.CPU, "cpuprofile", "", "write CPU profiles of the application to `file`.WORKLOAD.STORE.PEER.ROUND")
	f.StringVar(&o.profiles.Memory, "memprofile", "", "the same of its allocations, to `file`...")
	f.StringVar(&o.profiles.Trace, "trace", "", "the same of its execution, to `file`...")
	f.SetOutput(io.Discard) // main prints the error once
	switch err := f.Parse(args); {
	case errors.Is(err, flag.ErrHelp):
		f.SetOutput(out)
		fmt.Fprintln(out, "Usage: go run -C bench . [flags]")
		f.PrintDefaults()
		printNames(out)
		return nil, err
	case err != nil:
		return nil, err
	}
	switch {
	case f.NArg() > 0:
		return nil, fmt.Errorf("unexpected %q: all arguments are flags", f.Arg(0))
	case o.duration < 0, o.rounds < 0:
		return nil, errors.New("-duration and -rounds cannot be negative")
	case o.size <= 0:
		return nil, errors.New("-size must be positive")
	}
	return o, nil
}

// printNames lists the names that the flags accept.
func printNames(out io.Writer) {
	t := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "\nWorkloads:")
	for _, w := range workloads {
		fmt.Fprintf(t, "  %s\t%s\n", w.Name, w.About)
	}
	fmt.Fprintln(t, "\nStores:")
	for _, s := range storeKinds {
		fmt.Fprintf(t, "  %s\t%s\n", s.Name, s.About)
	}
	fmt.Fprintln(t, "\nPeers:")
	for _, p := range peers {
		fmt.Fprintf(t, "  %s\t%s\n", p.Name, p.About)
	}
	t.Flush()
}

// tryFiles finds files that cannot be written before an hour of measuring. It leaves no
// new file behind: the benchmark may end with nothing to write.
func (o *options) tryFiles() error {
	paths := []string{o.json, o.html}
	for _, p := range []string{o.profiles.CPU, o.profiles.Memory, o.profiles.Trace} {
		if p != "" {
			paths = append(paths, p+".try")
		}
	}
	for _, path := range paths {
		if path == "" {
			continue
		}
		_, err := os.Stat(path)
		isNew := errors.Is(err, fs.ErrNotExist)
		f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY, 0o644)
		if err != nil {
			return err
		}
		f.Close()
		if isNew {
			os.Remove(path)
		}
	}
	return nil
}

// write writes the files that the flags name.
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
	printPromises(out, r.Promises)
	return o.write(r)
}
