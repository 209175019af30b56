package metrics

import (
	"github.com/walvfs/walvfs/shipper"
)

// SetDatabases has the collector see these databases instead of those that are open.
func (c *Collector) SetDatabases(list ...shipper.Status) {
	c.SetSource(func() []shipper.Status { return list })
}

// SetSource has the collector ask for databases there.
func (c *Collector) SetSource(ask func() []shipper.Status) { c.databases = ask }

// Tell is what an event does.
func (c *Collector) Tell(e shipper.Event) { c.events.count(e) }
