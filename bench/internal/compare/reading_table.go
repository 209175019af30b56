package compare

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/dustin/go-humanize"
)

// print prints a table: for each figure a line for each peer, with the median of all
// rounds.
func (r *ReadingReport) print(out io.Writer) {
	fmt.Fprintf(out, "\n%s, %d cores, load %.1f; %s\n", r.Machine.System, r.Machine.Cores, r.Machine.Load, strings.Join(r.Machine.versionsByName(), ", "))
	fmt.Fprintf(out, "a database of %s and %s rows, a snapshot and %d files after it, %s added to each request\n\n",
		humanize.IBytes(uint64(r.Size)), humanize.Comma(r.Rows), r.Files-1, r.Latency)
	t := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "\tpeer\tms\trequests\tround trips\treceived\tmemory")
	what := ""
	for _, f := range r.inOrder() {
		name := ""
		if f.What != what {
			what, name = f.What, f.What
		}
		fmt.Fprintf(t, "%s\t%s\t%s\n", name, f.Peer, strings.Join(f.cells(), "\t"))
	}
	t.Flush()
	for _, f := range r.Readings {
		if f.Over > 0 {
			fmt.Fprintf(out, "%s, %s: %d of %d were given up after %s\n", f.What, f.Peer, f.Over, len(f.Seconds), r.Limit)
		}
		if len(f.Errors) > 0 {
			fmt.Fprintf(out, "%s, %s: %d errors, such as: %s\n", f.What, f.Peer, len(f.Errors), f.Errors[0])
		}
	}
	for _, name := range slices.Sorted(maps.Keys(r.Missing)) {
		fmt.Fprintf(out, "%s takes no part: %s\n", name, r.Missing[name])
	}
}

// inOrder groups the peers of each figure.
func (r *ReadingReport) inOrder() []*Reading {
	var all []*Reading
	var done []string
	for _, f := range r.Readings {
		if slices.Contains(done, f.What) {
			continue
		}
		done = append(done, f.What)
		for _, g := range r.Readings {
			if g.What == f.What {
				all = append(all, g)
			}
		}
	}
	return all
}

func (f *Reading) cells() []string {
	var ms, requests, rounds, received []float64
	for _, s := range f.Seconds {
		ms = append(ms, 1000*s)
	}
	for _, t := range f.Traffic {
		requests, rounds, received = append(requests, float64(t.Requests)), append(rounds, float64(t.Rounds)), append(received, float64(t.Bytes))
	}
	atLeast := ""
	if f.Over > 0 {
		atLeast = "≥ "
	}
	bytes := func(n float64) string { return humanize.IBytes(uint64(n)) }
	count := func(n float64) string { return fmt.Sprintf("%.0f", n) }
	return []string{
		atLeast + cellOf(ms, func(n float64) string { return fmt.Sprintf("%.1f", n) }),
		cellOf(requests, count), cellOf(rounds, count), cellOf(received, bytes), cellOf(f.Memory, bytes),
	}
}

// cellOf formats the median and the range of values.
func cellOf(values []float64, show func(float64) string) string {
	if len(values) == 0 {
		return "–"
	}
	s := spread(values)
	if show(s.Least) == show(s.Most) {
		return show(s.Median)
	}
	return fmt.Sprintf("%s [%s–%s]", show(s.Median), show(s.Least), show(s.Most))
}
