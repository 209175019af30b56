// Package metrics exports the replication of this process's databases to Prometheus.
//
//	collector := metrics.NewCollector(metrics.Options{})
//	defer collector.Close()
//	prometheus.MustRegister(collector)
//
// Create the collector before you open the first database: it counts only events that
// happen from then on. The package's directory has a dashboard for Grafana, two alerting
// rules, and README.md with a table of all metrics.
//
//	databases that are open     events of all databases
//	           │                           │
//	    read by a scrape          counted as they happen
//	           ▼                           ▼
//	gauges for each database,    counters and histograms,
//	or for all together: they    which have no label for the
//	end with the database        database, and outlive it
//
// Between scrapes and events, the package does nothing.
package metrics

import (
	"sync"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/walvfs/walvfs/shipper"
	"github.com/walvfs/walvfs/vfs"
)

// Options configure a [Collector].
type Options struct {
	// Aggregate combines all open databases, for a process that has thousands. Without
	// it, each database has 12 series of its own, with its path as the label "db". With
	// it, the same metrics have no such label: the lag in seconds is the largest, the
	// others are sums, so that walvfs_state counts the databases in each state, and there
	// are no metrics of tips.
	Aggregate bool
}

// A Collector exports the replication of all databases of this process, of any VFS. A
// process needs only one.
type Collector struct {
	events *events
	gauges *gauges
	stop   func()

	databases func() []shipper.Status

	mu   sync.Mutex
	seen map[string]shipper.Requests // guarded by mu: counted requests, by path
}

var _ prometheus.Collector = (*Collector)(nil)

// NewCollector returns a collector that counts from now on, until it is closed.
func NewCollector(opts Options) *Collector {
	c := &Collector{events: newEvents(), gauges: newGauges(opts.Aggregate), databases: open}
	c.stop = vfs.Listen(func(_ string, e shipper.Event) { c.events.count(e) })
	return c
}

// open returns the status of each open database.
func open() []shipper.Status {
	all := vfs.Databases()
	list := make([]shipper.Status, len(all))
	for i, db := range all {
		list[i] = db.Status()
	}
	return list
}

// Close makes the collector stop counting events. Unregister it, too, unless the process
// ends.
func (c *Collector) Close() { c.stop() }

// Describe implements [prometheus.Collector].
func (c *Collector) Describe(ch chan<- *prometheus.Desc) {
	for _, v := range c.events.all {
		v.Describe(ch)
	}
	c.gauges.describe(ch)
}

// Collect implements [prometheus.Collector].
func (c *Collector) Collect(ch chan<- prometheus.Metric) {
	open := c.look()
	for _, v := range c.events.all {
		v.Collect(ch)
	}
	c.gauges.collect(ch, open)
}

// look returns the open databases, and counts their requests since the last call, since
// requests cause no events. Scrapes call it one after the other: otherwise an older
// answer would pass for a reopened database, and be counted twice.
func (c *Collector) look() []shipper.Status {
	c.mu.Lock()
	defer c.mu.Unlock()
	open := c.databases()
	seen := make(map[string]shipper.Requests, len(open))
	var news shipper.Requests
	for i := range open {
		d := &open[i]
		before, now := c.seen[d.Path], d.Requests
		if now.Put < before.Put || now.Get < before.Get || now.List < before.List || now.Delete < before.Delete {
			before = shipper.Requests{} // the database was closed meanwhile
		}
		news.Put += now.Put - before.Put
		news.Get += now.Get - before.Get
		news.List += now.List - before.List
		news.Delete += now.Delete - before.Delete
		seen[d.Path] = now
	}
	c.seen = seen
	c.events.asked(news)
	return open
}
