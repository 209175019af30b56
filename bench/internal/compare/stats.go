package compare

import (
	"slices"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
	"gonum.org/v1/gonum/stat"
)

// Spread is what several rounds gave.
type Spread struct {
	Median float64 `json:"median"`
	Least  float64 `json:"least"`
	Most   float64 `json:"most"`
}

// spread summarizes values. None gives zeros.
func spread(values []float64) Spread {
	if len(values) == 0 {
		return Spread{}
	}
	sorted := slices.Sorted(slices.Values(values))
	n := len(sorted)
	middle := sorted[(n-1)/2 : n/2+1] // one value or two
	return Spread{stat.Mean(middle, nil), sorted[0], sorted[n-1]}
}

// ratios divides, round by round, what a peer had by what the baseline had: both were
// measured one after the other, so a machine that is slow for a while is so to both.
func ratios(peer, baseline []*Run, value func(*Run) float64) []float64 {
	var all []float64
	for _, p := range peer {
		i := slices.IndexFunc(baseline, func(b *Run) bool { return b.Round == p.Round })
		if i < 0 {
			continue
		}
		if b := value(baseline[i]); b != 0 {
			all = append(all, value(p)/b)
		}
	}
	return all
}

// longest is the longest time that a histogram knows.
const longest = time.Hour

// newHistogram is one of times in nanoseconds, to three digits.
func newHistogram() *hdrhistogram.Histogram { return hdrhistogram.New(1, longest.Nanoseconds(), 3) }

// percentile in milliseconds of a histogram; 0 without one.
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
}

const mebi = 1 << 20

// metrics are the rows of a comparison, without those that are zero for all.
var metrics = []metric{
	{"transactions", "/s", func(r *Run) float64 { return float64(r.Transactions) / r.Seconds }},
	{"reads", "/s", func(r *Run) float64 { return float64(r.Reads) / r.Seconds }},
	{"latency p50", "ms", func(r *Run) float64 { return percentile(r.latency, 50) }},
	{"latency p99", "ms", func(r *Run) float64 { return percentile(r.latency, 99) }},
	{"latency p99.9", "ms", func(r *Run) float64 { return percentile(r.latency, 99.9) }},
	{"longest stall", "ms", func(r *Run) float64 { return percentile(r.latency, 100) }},
	{"lag p50", "ms", func(r *Run) float64 { return percentile(r.lag, 50) }},
	{"lag p99", "ms", func(r *Run) float64 { return percentile(r.lag, 99) }},
	{"never in the store", "", func(r *Run) float64 { return float64(r.Missing) }},
	{"CPU, application", "%", func(r *Run) float64 { return 100 * r.App.CPU / r.Seconds }},
	{"CPU, Litestream", "%", func(r *Run) float64 { return 100 * r.Litestream.CPU / r.Seconds }},
	{"CPU a transaction or read", "µs", cpuPerOperation},
	{"memory, application", "MiB", func(r *Run) float64 { return float64(r.App.Memory) / mebi }},
	{"memory, Litestream", "MiB", func(r *Run) float64 { return float64(r.Litestream.Memory) / mebi }},
	{"largest WAL", "MiB", func(r *Run) float64 { return float64(r.WAL) / mebi }},
	{"disk written, application", "MiB/s", func(r *Run) float64 { return float64(r.App.Written) / mebi / r.Seconds }},
	{"disk written, Litestream", "MiB/s", func(r *Run) float64 { return float64(r.Litestream.Written) / mebi / r.Seconds }},
	{"requests", "/s", func(r *Run) float64 { return float64(r.Traffic.Total().Requests) / r.Counted }},
	{"sent", "MiB/s", func(r *Run) float64 { return float64(r.Traffic.Total().Sent) / mebi / r.Counted }},
	{"received", "MiB/s", func(r *Run) float64 { return float64(r.Traffic.Total().Received) / mebi / r.Counted }},
	{"requests, S3 price", "$/month", func(r *Run) float64 { return prices[0].bill(aDay(r), 0).Requests }},
	{"requests, R2 price", "$/month", func(r *Run) float64 { return prices[1].bill(aDay(r), 0).Requests }},
	{"requests, GCS price", "$/month", func(r *Run) float64 { return prices[2].bill(aDay(r), 0).Requests }},
	{"stored at the end", "MiB", func(r *Run) float64 { return float64(r.Stored) / mebi }},
	{"close, replica complete", "s", func(r *Run) float64 { return r.Close }},
	{"restore", "s", func(r *Run) float64 { return r.Restore }},
	{"requests of the restore", "", func(r *Run) float64 { return float64(r.RestoreTraffic.Total().Requests) }},
}

// aDay goes on like this for a day. A workload of costs knows better: see [Day].
func aDay(r *Run) Counts { return scale(r.Traffic, day.Seconds()/r.Counted) }

func cpuPerOperation(r *Run) float64 {
	n := r.Transactions + r.Reads
	if n == 0 {
		return 0
	}
	return 1e6 * (r.App.CPU + r.Litestream.CPU) / float64(n)
}

func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }
