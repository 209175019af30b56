package compare

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/dustin/go-humanize"
)

func printHead(out io.Writer, r *Report, about time.Duration) {
	m := r.Machine
	fmt.Fprintf(out, "%s, %d cores, %s, %s, load %.1f, %s\n", m.Processor, m.Cores, humanize.IBytes(m.Memory), m.System, m.Load, m.Go)
	fmt.Fprintln(out, strings.Join(r.Machine.versionsByName(), ", "))
	fmt.Fprintf(out, "databases on %s, stores on %s\n", m.FileSystem, m.Stores)
	fmt.Fprintf(out, "This takes about %s.\n", about.Round(time.Second))
}

// printComparison prints the median [least to most] and, after ×, the median of the
// ratios of pairs to the first peer.
func printComparison(out io.Writer, c *Comparison) {
	fmt.Fprintf(out, "\n%s on %s: %s; %s, %d rounds\n", c.Workload.Name, c.Store, c.Workload.About, c.length(), len(c.of(c.Baseline)))
	t := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintf(t, "\t%s\n", strings.Join(c.Peers, "\t"))
	for _, row := range c.Rows {
		fmt.Fprint(t, strings.TrimSpace(row.Metric+" "+row.Unit))
		for _, p := range c.Peers {
			fmt.Fprintf(t, "\t%s", row.Peers[p])
		}
		fmt.Fprintln(t)
	}
	t.Flush()
	if text := c.busyText(); text != "" {
		fmt.Fprintln(out, text)
	}
	if len(c.Days) > 0 {
		printDays(out, c.Days)
	}
}

// length returns the planned length of a run.
func (c *Comparison) length() string {
	if c.Workload.SpeedTest > 0 {
		return "until it ends"
	}
	return seconds(c.Duration).Round(100*time.Millisecond).String() + " a run"
}

// busyText notes that a machine had other work; empty if it had none.
func (c *Comparison) busyText() string {
	busy, most := 0, 0.0
	for _, r := range c.Runs {
		if r.Busy.isBusy() {
			busy++
			most = max(most, r.Busy.Others+r.Busy.Stolen)
		}
	}
	if busy == 0 {
		return ""
	}
	return fmt.Sprintf("The machine was busy: in %d of %d runs, other processes or machines took up to %.0f %% of a core, so that the figures may be wrong.",
		busy, len(c.Runs), 100*most)
}

// printPromises prints the promises, and the measurements of each.
func printPromises(out io.Writer, promises []Promise) {
	if len(promises) == 0 {
		return
	}
	fmt.Fprintln(out, "\nwhat walvfs promises, as medians on 2 cores:")
	t := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "figure\tworkload\tstore\ttarget\tmeasured\trounds\t")
	for _, p := range promises {
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%d\t%s\n", p.Figure, p.Workload, p.Store, p.Target, p.Exactly(), p.Rounds, p.Verdict())
	}
	t.Flush()
}

// String returns the median, and the range if it differs.
func (s Spread) String() string {
	text := number(s.Median)
	if least, most := number(s.Least), number(s.Most); least != most {
		text += fmt.Sprintf(" [%s–%s]", least, most)
	}
	return text
}

// String formats the cell for people.
func (c Cell) String() string {
	s := c.Spread.String()
	if c.Ratio != nil {
		s += fmt.Sprintf(" ×%s", number(c.Ratio.Median))
	}
	return s
}

// number formats three significant digits, or all digits before the point.
func number(v float64) string {
	switch {
	case v == 0:
		return "0"
	case v >= 100:
		return humanize.Commaf(float64(int64(v + 0.5)))
	case v >= 10:
		return fmt.Sprintf("%.1f", v)
	case v >= 1:
		return fmt.Sprintf("%.2f", v)
	}
	return fmt.Sprintf("%.2g", v)
}

// dayLine is a line of the table of a day.
type dayLine struct {
	Name string
	keep func(Count) bool
}

// dayLines lists all lines, the sum last.
var dayLines = []dayLine{
	{"put, level 0", func(c Count) bool { return c.Kind == Put && c.Level == 0 }},
	{"put, levels 1 to 3", func(c Count) bool { return c.Kind == Put && c.Level >= 1 && c.Level <= 3 }},
	{"put, snapshot", func(c Count) bool { return (c.Kind == Put || c.Kind == Part) && c.Level == 9 }},
	{"put, other", func(c Count) bool {
		return c.Kind == Put && (c.Level == NoLevel || c.Level > 3 && c.Level < 9) || c.Kind == Part && c.Level != 9
	}},
	{"list", func(c Count) bool { return c.Kind == List }},
	{"get", func(c Count) bool { return c.Kind == Get }},
	{"delete", func(c Count) bool { return c.Kind == Delete }},
	{"all", func(Count) bool { return true }},
}

// printDays prints the requests of a day by kind, and their price.
func printDays(out io.Writer, days []Day) {
	fmt.Fprintf(out, "\na day of this load, from %.0f s: requests, MiB sent, MiB received\n", days[0].Window)
	t := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	for _, d := range days {
		fmt.Fprintf(t, "\t%s", d.Peer)
	}
	fmt.Fprintln(t)
	for _, line := range dayLines {
		fmt.Fprint(t, line.Name)
		for _, d := range days {
			fmt.Fprintf(t, "\t%s", amount(d.Day.Where(line.keep)))
		}
		fmt.Fprintln(t)
	}
	for i, p := range prices {
		fmt.Fprintf(t, "%s, $ a month", p.Store)
		for _, d := range days {
			b := d.Bills[i]
			fmt.Fprintf(t, "\t%.2f requests + %.4f storage", b.Requests, b.Storage)
		}
		fmt.Fprintln(t)
	}
	t.Flush()
	for _, d := range days {
		fmt.Fprintf(out, "%s: %s\n", d.Peer, d.Explain())
	}
}

func amount(c Count) string {
	if c.Requests == 0 {
		return "0"
	}
	return fmt.Sprintf("%s, %s, %s", humanize.Comma(c.Requests), number(float64(c.Sent)/mebi), number(float64(c.Received)/mebi))
}

// Explain describes how a day was estimated.
func (d Day) Explain() string {
	snapshot := d.Daily.Total()
	return fmt.Sprintf("%d requests counted in %.0f s; + 24 times level 3, estimated from level 2: %s; + one snapshot, taken as large as the first upload: %s",
		d.Often.Total().Requests, d.Window, amount(d.Hourly.Total()), amount(snapshot))
}
