package compare

import "fmt"

// barePut names bare PUTs in place of a peer.
const barePut = "a bare PUT"

// target is a figure that walvfs promises: a median of rounds, on two cores.
type target struct {
	Figure   string
	Workload string
	Store    string // empty: any
	Peer     string
	Against  string // a peer or barePut: the figure is a ratio, paired by round; empty: the value itself
	More     bool   // the figure is the difference from a peer, not the ratio
	value    func(*Run) float64
	Unit     string
	AtLeast  bool // otherwise at most
	Limit    float64
}

// targets lists all targets.
var targets = []target{
	{Figure: "throughput", Workload: "commit-1-normal", Peer: "walvfs", Against: "plain", value: valueOf("transactions"), AtLeast: true, Limit: 0.97},
	{Figure: "commit p50", Workload: "commit-1-normal", Peer: "walvfs", Against: "plain", value: valueOf("latency p50"), Limit: 1.03},
	{Figure: "commit p99", Workload: "commit-1-normal", Peer: "walvfs", Against: "plain", value: valueOf("latency p99"), Limit: 1.10},
	{Figure: "CPU, application and replication", Workload: "commit-1-normal", Peer: "walvfs", Against: "litestream", value: cpuInAll, Limit: 1},
	{Figure: "the same, of a commit", Workload: "commit-1-normal", Peer: "walvfs", Against: "litestream", value: cpuPerOperation, Limit: 1},

	{Figure: "throughput", Workload: "commit-long", Store: oneS3, Peer: "walvfs", Against: "plain", value: valueOf("transactions"), AtLeast: true, Limit: 0.98},
	{Figure: "commit p99", Workload: "commit-long", Store: oneS3, Peer: "walvfs", Against: "plain", value: valueOf("latency p99"), Limit: 1.05},
	{Figure: "longest stall", Workload: "commit-long", Store: oneS3, Peer: "walvfs", Against: "plain", value: valueOf("longest stall"), Limit: 1.2},
	{Figure: "largest WAL", Workload: "commit-long", Store: oneS3, Peer: "walvfs", value: valueOf("largest WAL"), Unit: " MiB", Limit: 6},
	{Figure: "memory", Workload: "commit-long", Store: oneS3, Peer: "walvfs", Against: "plain", More: true, value: valueOf("memory, application"), Unit: " MiB", Limit: 24},

	{Figure: "throughput", Workload: "bulk", Store: oneS3, Peer: "walvfs", Against: "plain", value: valueOf("transactions"), AtLeast: true, Limit: 0.95},
	{Figure: "longest stall", Workload: "bulk", Store: oneS3, Peer: "walvfs", Against: "plain", value: valueOf("longest stall"), Limit: 1.5},
	{Figure: "CPU of a transaction", Workload: "bulk", Store: oneS3, Peer: "walvfs", Against: "plain", value: cpuPerOperation, Limit: 1.25},

	{Figure: "wall", Workload: "speedtest1", Store: oneS3, Peer: "walvfs", Against: "plain", value: valueOf("wall"), Limit: 1.03},

	{Figure: "lag p50 at interval=0s", Workload: "paced", Store: oneS3, Peer: "walvfs-0s", Against: barePut, value: lagInPuts, Limit: 1.3},
	{Figure: "lag p50 by default", Workload: "paced-2s", Store: oneS3, Peer: "walvfs", Against: barePut, value: lagInPuts, Limit: 1.5},
	{Figure: "commit p50 at durability=sync", Workload: "commit-1-sync", Store: oneS3, Peer: "walvfs-sync", Against: barePut, value: latencyInPuts, Limit: 1.25},
	{Figure: "CPU of a commit", Workload: "paced-2s", Store: oneS3, Peer: "walvfs", value: cpuPerOperation, Unit: " µs", Limit: 1200},

	{Figure: "memory", Workload: "first-snapshot", Store: oneS3, Peer: "walvfs", Against: "plain", More: true, value: valueOf("memory, application"), Unit: " MiB", Limit: 64},
	{Figure: "longest stall", Workload: "first-snapshot", Store: oneS3, Peer: "walvfs", Against: "plain", value: valueOf("longest stall"), Limit: 1.5},
	{Figure: "sent, of what the database grew by", Workload: "reopen", Store: oneS3, Peer: "walvfs", value: sentOfGrown, Limit: 1.1},

	{Figure: "requests of 1,000 databases in 60 s", Workload: "idle", Peer: "walvfs", value: perMinute(requests), Limit: 0},
	{Figure: "CPU of 1,000 databases in 60 s", Workload: "idle", Peer: "walvfs", value: perMinute(cpuInAll), Unit: " ms", Limit: 10},
}

// valueOf returns the value function of a metric.
func valueOf(name string) func(*Run) float64 {
	for _, m := range metrics {
		if m.Name == name {
			return m.value
		}
	}
	panic("no metric " + name)
}

// perMinute scales a sum of the whole window to a minute.
func perMinute(sum func(*Run) float64) func(*Run) float64 {
	return func(r *Run) float64 { return 60 * sum(r) / r.Counted }
}

// Promise is the result of a target.
type Promise struct {
	Figure   string `json:"figure"`
	Workload string `json:"workload"`
	Store    string `json:"store"`
	Target   string `json:"target"`
	Measured Spread `json:"measured"`
	Rounds   int    `json:"rounds"`
	Met      bool   `json:"met"`            // by the median
	Busy     int    `json:"busy,omitempty"` // rounds in which the machine had other work
}

// judge checks the targets that the comparisons can check.
func (r *Report) judge() {
	r.Promises = nil
	for _, t := range targets {
		for _, c := range r.Comparisons {
			if c.Workload.Name != t.Workload || t.Store != "" && t.Store != c.Store {
				continue
			}
			values := t.measured(c)
			if len(values) == 0 {
				continue
			}
			s := spread(values)
			met := s.Median <= t.Limit
			if t.AtLeast {
				met = s.Median >= t.Limit
			}
			r.Promises = append(r.Promises, Promise{t.Figure, c.Workload.Name, c.Store, t.String(), s, len(values), met, t.busy(c)})
		}
	}
}

// measured returns the figure's values, one per round; none if a part of it is missing.
func (t target) measured(c *Comparison) []float64 {
	if t.More {
		return differences(c.of(t.Peer), c.of(t.Against), t.value)
	}
	if t.Against != "" && t.Against != barePut {
		return ratios(c.of(t.Peer), c.of(t.Against), t.value)
	}
	var values []float64
	for _, r := range c.of(t.Peer) {
		if t.Against != barePut || r.puts != nil {
			values = append(values, t.value(r))
		}
	}
	return values
}

// busy counts the rounds in which the machine was busy, for either peer.
func (t target) busy(c *Comparison) int {
	rounds := map[int]bool{}
	for _, r := range c.Runs {
		if r.Busy.isBusy() && (r.Peer == t.Peer || r.Peer == t.Against) {
			rounds[r.Round] = true
		}
	}
	return len(rounds)
}

// String describes the target in words.
func (t target) String() string {
	bound := "at most"
	if t.AtLeast {
		bound = "at least"
	}
	if t.More {
		return fmt.Sprintf("%s %s%s more than %s", bound, number(t.Limit), t.Unit, t.Against)
	}
	if t.Against == "" {
		return fmt.Sprintf("%s %s%s", bound, number(t.Limit), t.Unit)
	}
	return fmt.Sprintf("%s %s of %s", bound, number(t.Limit), t.Against)
}

// Exactly returns the measured value, with one digit more than elsewhere: 1.034 is not
// 1.03.
func (p Promise) Exactly() string {
	m := p.Measured
	if m.Least == m.Most {
		return fmt.Sprintf("%.4g", m.Median)
	}
	return fmt.Sprintf("%.4g [%.4g–%.4g]", m.Median, m.Least, m.Most)
}

// Verdict describes the outcome in words.
func (p Promise) Verdict() string {
	verdict := "not met"
	if p.Met {
		verdict = "met"
	}
	if p.Busy > 0 {
		verdict += fmt.Sprintf(" (%d of %d rounds on a busy machine)", p.Busy, p.Rounds)
	}
	return verdict
}
