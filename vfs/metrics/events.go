package metrics

import (
	"strconv"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/walvfs/walvfs/format"
	"github.com/walvfs/walvfs/shipper"
)

// events are the metrics of events in any database. Their labels have few values. Known
// values exist from the start: a rate sees the first event only if there was a 0 before.
type events struct {
	uploads, uploadedBytes, requests, errors *prometheus.CounterVec
	resyncs, deleted                         prometheus.Counter
	cutTime, uploadTime, wait                *prometheus.HistogramVec
	lag                                      prometheus.Histogram

	all []prometheus.Collector
}

// Classes of files, whose sizes and durations differ by orders of magnitude.
const (
	raw      = "raw"      // level 0
	levels   = "levels"   // 1 to 8
	snapshot = "snapshot" // level 9
)

// Outcomes of a commit that waited for the replica.
const (
	confirmed   = "confirmed"
	unconfirmed = "unconfirmed"
)

// seconds are the bounds of all histograms: from a cut of a few pages, over a request
// to a near store and to a far one, to the upload of a large snapshot.
var seconds = []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 300}

func newEvents() *events {
	m := &events{}
	m.uploads = m.counters("uploads_total", "Files that stores acknowledged, by level: 0 for commits, 9 for snapshots.", "level")
	m.uploadedBytes = m.counters("uploaded_bytes_total", "Bytes of acknowledged files, by level.", "level")
	m.requests = m.counters("requests_total", "Requests to stores, by kind, including failed requests, without those between the last scrape and the close of a database.", "kind")
	m.errors = m.counters("errors_total", "Failed attempts of requests and cuts, by kind of error.", "kind")
	m.resyncs = m.counters("resyncs_total", "Uploads of a whole database that walvfs made because it could not prove what the replica has.").WithLabelValues()
	m.deleted = m.counters("deleted_files_total", "Files that retention removed from replicas.").WithLabelValues()
	m.cutTime = m.histograms("cut_duration_seconds", "Seconds to read a file's pages from the database and to encode them, by class of file.", "class")
	m.uploadTime = m.histograms("upload_duration_seconds", "Seconds that the acknowledged try of an upload took, by class of file.", "class")
	m.wait = m.histograms("commit_wait_seconds", "Seconds that commits with durability=sync waited for the replica, by outcome.", "outcome")
	m.lag = m.histograms("upload_lag_seconds", "Seconds from a commit until its replica had it, of the oldest commit in each file of level 0.").WithLabelValues().(prometheus.Histogram)

	for _, level := range []int{0, 1, 2, 3, format.LevelSnapshot} { // the levels of the default policy
		m.uploads.WithLabelValues(strconv.Itoa(level))
		m.uploadedBytes.WithLabelValues(strconv.Itoa(level))
	}
	for _, kind := range shipper.ErrorKinds {
		m.errors.WithLabelValues(kind)
	}
	for _, class := range []string{raw, levels, snapshot} {
		m.cutTime.WithLabelValues(class)
		m.uploadTime.WithLabelValues(class)
	}
	m.wait.WithLabelValues(confirmed)
	m.wait.WithLabelValues(unconfirmed)
	m.asked(shipper.Requests{})
	return m
}

func (m *events) counters(name, help string, labels ...string) *prometheus.CounterVec {
	v := prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: namespace, Name: name, Help: help}, labels)
	m.all = append(m.all, v)
	return v
}

func (m *events) histograms(name, help string, labels ...string) *prometheus.HistogramVec {
	v := prometheus.NewHistogramVec(prometheus.HistogramOpts{Namespace: namespace, Name: name, Help: help, Buckets: seconds}, labels)
	m.all = append(m.all, v)
	return v
}

// count counts an event. It neither blocks nor allocates: a commit may wait for it.
func (m *events) count(e shipper.Event) {
	switch e := e.(type) {
	case shipper.Encoded:
		m.cutTime.WithLabelValues(class(e.Level)).Observe(e.Took.Seconds())
	case shipper.Uploaded:
		level := strconv.Itoa(e.Level)
		m.uploadedBytes.WithLabelValues(level).Add(float64(e.Bytes))
		m.uploadTime.WithLabelValues(class(e.Level)).Observe(e.Took.Seconds())
		if e.Lag > 0 { // the times of its commits are known
			m.lag.Observe(e.Lag.Seconds())
		}
		m.uploads.WithLabelValues(level).Inc() // counted last, and collected first: a scrape that includes it includes the rest
	case shipper.Failed:
		m.errors.WithLabelValues(e.Kind).Inc()
	case shipper.Deleted:
		m.deleted.Add(float64(e.Files))
	case shipper.Resynced:
		m.resyncs.Inc()
	case shipper.Confirmed:
		outcome := confirmed
		if e.Err != nil {
			outcome = unconfirmed
		}
		m.wait.WithLabelValues(outcome).Observe(e.Took.Seconds())
	}
}

// asked counts requests.
func (m *events) asked(r shipper.Requests) {
	m.requests.WithLabelValues("put").Add(float64(r.Put))
	m.requests.WithLabelValues("get").Add(float64(r.Get))
	m.requests.WithLabelValues("list").Add(float64(r.List))
	m.requests.WithLabelValues("delete").Add(float64(r.Delete))
}

func class(level int) string {
	switch level {
	case 0:
		return raw
	case format.LevelSnapshot:
		return snapshot
	}
	return levels
}
