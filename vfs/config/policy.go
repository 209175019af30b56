package config

import (
	"cmp"
	"time"

	"go.yaml.in/yaml/v4"

	"github.com/walvfs/walvfs/shipper"
)

// policy is the file's setting of levels and retention. A duration is zero if the file
// does not set it, and negative for none.
type policy struct {
	levels    []time.Duration
	snapshots time.Duration
	keep      time.Duration
	keepRaw   time.Duration
	keepAll   bool
}

// policyKeys are the keys at the top of the file.
func (p *parser) policyKeys(k keys, v *policy, writing *[]error) {
	k["snapshot"] = key{read: p.snapshot(v, writing)}
	k["l0-retention"] = key{read: p.duration(&v.keepRaw)}
	k["levels"] = key{read: p.sequence(func(n *yaml.Node) {
		var every time.Duration
		p.mapping(n, "a level", keys{"interval": {read: p.duration(&every)}}, writing)
		if every <= 0 || len(v.levels) > 0 && every <= v.levels[len(v.levels)-1] || len(v.levels) == 8 {
			p.fail(n.Line, "levels: expected up to 8 intervals, ascending")
			return
		}
		v.levels = append(v.levels, every)
	})}
	k["retention"] = key{read: func(_ string, n *yaml.Node) {
		p.mapping(n, "retention", keys{"enabled": {read: p.boolean(func(on bool) { v.keepAll = !on })}}, writing)
	}}
}

// snapshot reads a key that the top and a database may set.
func (p *parser) snapshot(v *policy, writing *[]error) func(string, *yaml.Node) {
	return func(_ string, n *yaml.Node) {
		p.mapping(n, "snapshot", keys{
			"interval":  {read: p.duration(&v.snapshots)},
			"retention": {read: p.duration(&v.keep)},
		}, writing)
	}
}

// policy returns the policy of a database. Fields that the file does not set are zero.
func (v policy) policy(top policy) shipper.Policy {
	p := shipper.Policy{
		Levels:    top.levels,
		Snapshots: cmp.Or(v.snapshots, top.snapshots),
		KeepRaw:   top.keepRaw,
		Retention: cmp.Or(v.keep, top.keep),
	}
	if top.keepAll {
		p.Retention = -1
	}
	return p
}
