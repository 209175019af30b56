package metrics

import (
	"github.com/walvfs/walvfs/shipper"
)

// SetDatabases makes the collector see these databases instead of the open databases.
func (c *Collector) SetDatabases(list ...shipper.Status) {
	c.SetSource(func() []shipper.Status { return list })
}

// SetSource sets the function from which the collector gets the databases.
func (c *Collector) SetSource(ask func() []shipper.Status) { c.databases = ask }

// Tell passes an event to the collector.
func (c *Collector) Tell(e shipper.Event) { c.events.count(e) }
