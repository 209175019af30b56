package compare

import (
	"iter"
	"slices"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
	"gonum.org/v1/gonum/stat"
)

// Spread summarizes the values of several rounds.
type Spread struct {
	Median float64 `json:"median"`
	Least  float64 `json:"least"`
	Most   float64 `json:"most"`
}

// spread summarizes values. It returns zeros for no values.
func spread(values []float64) Spread {
	if len(values) == 0 {
		return Spread{}
	}
	sorted := slices.Sorted(slices.Values(values))
	n := len(sorted)
	middle := sorted[(n-1)/2 : n/2+1] // one value or two
	return Spread{stat.Mean(middle, nil), sorted[0], sorted[n-1]}
}

// ratios divides a peer's value by the baseline's, round by round. Both were measured one
// after the other, so a machine that is slow for a while is slow for both.
func ratios(peer, baseline []*Run, value func(*Run) float64) (all []float64) {
	for p, b := range paired(peer, baseline) {
		if value(b) != 0 {
			all = append(all, value(p)/value(b))
		}
	}
	return all
}

// differences subtracts instead of dividing.
func differences(peer, baseline []*Run, value func(*Run) float64) (all []float64) {
	for p, b := range paired(peer, baseline) {
		all = append(all, value(p)-value(b))
	}
	return all
}

// paired returns a peer's runs, each with the baseline's run of the same round.
func paired(peer, baseline []*Run) iter.Seq2[*Run, *Run] {
	return func(yield func(p, b *Run) bool) {
		for _, p := range peer {
			i := slices.IndexFunc(baseline, func(b *Run) bool { return b.Round == p.Round })
			if i >= 0 && !yield(p, baseline[i]) {
				return
			}
		}
	}
}

// longest is the longest time in a histogram.
const longest = time.Hour

// newHistogram returns a histogram of times in nanoseconds, to three digits.
func newHistogram() *hdrhistogram.Histogram { return hdrhistogram.New(1, longest.Nanoseconds(), 3) }

// percentile returns a percentile in milliseconds, 0 without a histogram.
func percentile(h *hdrhistogram.Histogram, p float64) float64 {
	if h == nil || h.TotalCount() == 0 {
		return 0
	}
	return float64(h.ValueAtPercentile(p)) / 1e6
}

// metric is a figure of a run.
type metric struct {
	Name, Unit string
	value      func(*Run) float64
	alone      bool // a ratio to the first peer would be meaningless
}

const mebi = 1 << 20

// metrics are the rows of a comparison, without rows that are zero for all peers.
var metrics = []metric{
	{Name: "wall", Unit: "s", value: func(r *Run) float64 { return r.Wall }},
	{Name: "transactions", Unit: "/s", value: func(r *Run) float64 { return float64(r.Transactions) / r.Seconds }},
	{Name: "reads", Unit: "/s", value: func(r *Run) float64 { return float64(r.Reads) / r.Seconds }},
	{Name: "latency p50", Unit: "ms", value: func(r *Run) float64 { return percentile(r.latency, 50) }},
	{Name: "latency p99", Unit: "ms", value: func(r *Run) float64 { return percentile(r.latency, 99) }},
	{Name: "latency p99.9", Unit: "ms", value: func(r *Run) float64 { return percentile(r.latency, 99.9) }},
	{Name: "longest stall", Unit: "ms", value: func(r *Run) float64 { return percentile(r.latency, 100) }},
	{Name: "lag p50", Unit: "ms", value: func(r *Run) float64 { return percentile(r.lag, 50) }},
	{Name: "lag p99", Unit: "ms", value: func(r *Run) float64 { return percentile(r.lag, 99) }},
	{Name: "bare PUT p50", Unit: "ms", value: func(r *Run) float64 { return percentile(r.puts, 50) }, alone: true},
	{Name: "bare PUT p99", Unit: "ms", value: func(r *Run) float64 { return percentile(r.puts, 99) }, alone: true},
	{Name: "lag p50, in bare PUTs", value: lagInPuts, alone: true},
	{Name: "latency p50, in bare PUTs", value: latencyInPuts, alone: true},
	{Name: "never in the store", value: func(r *Run) float64 { return float64(r.Missing) }},
	{Name: "CPU, application", Unit: "%", value: func(r *Run) float64 { return 100 * r.App.CPU / r.Counted }},
	{Name: "CPU, Litestream", Unit: "%", value: func(r *Run) float64 { return 100 * r.Litestream.CPU / r.Counted }},
	{Name: "CPU in all", Unit: "ms", value: cpuInAll},
	{Name: "CPU a transaction or read", Unit: "µs", value: cpuPerOperation},
	{Name: "memory, application", Unit: "MiB", value: func(r *Run) float64 { return float64(r.App.Memory) / mebi }},
	{Name: "memory, Litestream", Unit: "MiB", value: func(r *Run) float64 { return float64(r.Litestream.Memory) / mebi }},
	{Name: "largest WAL", Unit: "MiB", value: func(r *Run) float64 { return float64(r.WAL) / mebi }},
	{Name: "disk written, application", Unit: "MiB/s", value: func(r *Run) float64 { return float64(r.App.Written) / mebi / r.Counted }},
	{Name: "disk written, Litestream", Unit: "MiB/s", value: func(r *Run) float64 { return float64(r.Litestream.Written) / mebi / r.Counted }},
	{Name: "requests in all", value: requests},
	{Name: "requests", Unit: "/s", value: func(r *Run) float64 { return float64(r.Traffic.Total().Requests) / r.Counted }},
	{Name: "sent", Unit: "MiB/s", value: func(r *Run) float64 { return float64(r.Traffic.Total().Sent) / mebi / r.Counted }},
	{Name: "received", Unit: "MiB/s", value: func(r *Run) float64 { return float64(r.Traffic.Total().Received) / mebi / r.Counted }},
	{Name: "requests, S3 price", Unit: "$/month", value: func(r *Run) float64 { return prices[0].bill(aDay(r), 0).Requests }},
	{Name: "requests, R2 price", Unit: "$/month", value: func(r *Run) float64 { return prices[1].bill(aDay(r), 0).Requests }},
	{Name: "requests, GCS price", Unit: "$/month", value: func(r *Run) float64 { return prices[2].bill(aDay(r), 0).Requests }},
	{Name: "sent as level 0, of what the database grew by", value: sentOfGrown, alone: true},
	{Name: "stored at the end", Unit: "MiB", value: func(r *Run) float64 { return float64(r.Stored) / mebi }},
	{Name: "close, replica complete", Unit: "s", value: func(r *Run) float64 { return r.Close }},
	{Name: "restore", Unit: "s", value: func(r *Run) float64 { return r.Restore }},
	{Name: "requests of the restore", value: func(r *Run) float64 { return float64(r.RestoreTraffic.Total().Requests) }},
	{Name: "CPU, others' processes", Unit: "%", value: func(r *Run) float64 { return 100 * r.Busy.Others }, alone: true},
	{Name: "CPU, other machines", Unit: "%", value: func(r *Run) float64 { return 100 * r.Busy.Stolen }, alone: true},
}

// aDay extrapolates a run to a day. [Day] is more exact for a workload of costs.
func aDay(r *Run) Counts { return scale(r.Traffic, day.Seconds()/r.Counted) }

func cpuPerOperation(r *Run) float64 {
	n := r.Transactions + r.Reads
	if n == 0 {
		return 0
	}
	perSecond := float64(n) / r.Seconds // including the warm-up, unlike the CPU
	return 1e6 * (r.App.CPU + r.Litestream.CPU) / r.Counted / perSecond
}

// cpuInAll returns the CPU time of the application and Litestream, in milliseconds.
func cpuInAll(r *Run) float64 { return 1e3 * (r.App.CPU + r.Litestream.CPU) }

// sentOfGrown returns how often inserted bytes were sent, without compaction.
func sentOfGrown(r *Run) float64 {
	if r.Grown <= 0 {
		return 0
	}
	sent := r.Traffic.Where(func(c Count) bool { return c.Level == 0 && (c.Kind == Put || c.Kind == Part) }).Sent
	return float64(sent) / float64(r.Grown)
}

func requests(r *Run) float64 { return float64(r.Traffic.Total().Requests) }

func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }
