package metrics

import (
	"strconv"
	"unicode/utf8"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/walvfs/walvfs/shipper"
)

const namespace = "walvfs"

// gauges are the metrics of the current state, for each open database or for all
// together.
type gauges struct {
	list      []gauge
	state     *prometheus.Desc
	aggregate bool
}

// A gauge is one metric of the current state.
type gauge struct {
	desc  *prometheus.Desc
	value func(*shipper.Status) float64
	of    scope
}

// A scope says how a gauge combines several databases, and handles a database without a
// tip.
type scope int

const (
	largest scope = iota
	sum
	tip // only for one database, once it has a tip
)

var states = []shipper.State{shipper.Starting, shipper.Streaming, shipper.Retrying, shipper.Halted}

func newGauges(aggregate bool) *gauges {
	m := &gauges{aggregate: aggregate}
	m.add("lag_seconds", largest, "Age in seconds of the oldest commit that the replica lacks, 0 if it lacks none.",
		func(s *shipper.Status) float64 { return s.Lag.Seconds() })
	m.add("lag_commits", sum, "Commits since the database was opened that the replica lacks.",
		func(s *shipper.Status) float64 { return float64(s.LagCommits) })
	m.add("dirty_pages", sum, "Number of pages that the next upload will contain, approximately.",
		func(s *shipper.Status) float64 { return float64(s.LagPages) })
	m.add("lag_bytes", sum, "Bytes of the pages that the next upload will contain before compression, approximately.",
		func(s *shipper.Status) float64 { return float64(s.LagBytes) })
	m.add("tip_txid", tip, "The newest TXID of the replica, as a number. Absent until walvfs knows it.",
		func(s *shipper.Status) float64 { return float64(s.Tip.TXID) })
	m.add("tip_timestamp_seconds", tip, "Unix time in seconds of the newest TXID of the replica. Absent until walvfs knows it.",
		func(s *shipper.Status) float64 { return float64(s.Tip.Time.UnixMilli()) / 1000 })
	m.add("levels_error", sum, "1 if an error delays a file of a higher level or a deletion, 0 if not. Commits still reach the replica.",
		func(s *shipper.Status) float64 { return flag(s.LevelsErr != nil) })
	m.add("unfenced", sum, "1 if fencing=off, so that walvfs would not notice another writer, 0 if not.",
		func(s *shipper.Status) float64 { return flag(s.Unfenced) })
	m.state = m.describeOne("state", sum, "1 for the current state of replication, 0 for the other states: starting, streaming, retrying or halted.", "state")
	return m
}

func (m *gauges) add(name string, of scope, help string, value func(*shipper.Status) float64) {
	if m.aggregate && of == tip {
		return
	}
	m.list = append(m.list, gauge{m.describeOne(name, of, help), value, of})
}

func (m *gauges) describeOne(name string, of scope, help string, labels ...string) *prometheus.Desc {
	switch {
	case !m.aggregate:
		labels = append([]string{"db"}, labels...)
	case of == largest:
		help += " The largest of all open databases."
	default:
		help += " The sum over all open databases."
	}
	return prometheus.NewDesc(prometheus.BuildFQName(namespace, "", name), help, labels, nil)
}

func (m *gauges) describe(ch chan<- *prometheus.Desc) {
	for _, g := range m.list {
		ch <- g.desc
	}
	ch <- m.state
}

func (m *gauges) collect(ch chan<- prometheus.Metric, open []shipper.Status) {
	if m.aggregate {
		m.together(ch, open)
		return
	}
	for i := range open {
		db, s := label(open[i].Path), &open[i]
		for _, g := range m.list {
			if g.of != tip || s.Tip.TXID > 0 {
				ch <- sample(g.desc, g.value(s), db)
			}
		}
		for _, state := range states {
			ch <- sample(m.state, flag(s.State == state), db, string(state))
		}
	}
}

func (m *gauges) together(ch chan<- prometheus.Metric, open []shipper.Status) {
	for _, g := range m.list {
		all := 0.0
		for i := range open {
			if v := g.value(&open[i]); g.of == largest {
				all = max(all, v)
			} else {
				all += v
			}
		}
		ch <- sample(g.desc, all)
	}
	count := map[shipper.State]float64{}
	for i := range open {
		count[open[i].State]++
	}
	for _, state := range states {
		ch <- sample(m.state, count[state], string(state))
	}
}

func sample(desc *prometheus.Desc, v float64, labels ...string) prometheus.Metric {
	return prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, v, labels...)
}

// label makes a path a label, which must be UTF-8. It quotes a path that is not; no
// absolute path begins with a quote.
func label(path string) string {
	if utf8.ValidString(path) {
		return path
	}
	return strconv.Quote(path)
}

func flag(is bool) float64 {
	if is {
		return 1
	}
	return 0
}
