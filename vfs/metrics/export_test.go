package metrics

import (
	"github.com/walvfs/walvfs/shipper"
	"github.com/walvfs/walvfs/vfs"
)

// SetDatabases has the collector see these databases instead of those that are open.
func (c *Collector) SetDatabases(list ...vfs.Database) {
	c.SetSource(func() []vfs.Database { return list })
}

// SetSource has the collector ask for databases there.
func (c *Collector) SetSource(ask func() []vfs.Database) { c.databases = ask }

// Tell is what an event does.
func (c *Collector) Tell(e shipper.Event) { c.events.count(e) }
