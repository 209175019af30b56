package config

import (
	"time"

	"go.yaml.in/yaml/v4"

	"github.com/walvfs/walvfs/shipper"
)

// policy is what the file says of levels and retention. A duration of zero is one
// that it does not say, a negative one is none.
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

// snapshot reads what may stand at the top, and at a database.
func (p *parser) snapshot(v *policy, writing *[]error) func(string, *yaml.Node) {
	return func(_ string, n *yaml.Node) {
		p.mapping(n, "snapshot", keys{
			"interval":  {read: p.duration(&v.snapshots)},
			"retention": {read: p.duration(&v.keep)},
		}, writing)
	}
}

// policy returns what holds for a database, zero if the file says nothing.
func (v policy) policy(top policy) shipper.Policy {
	p := shipper.DefaultPolicy()
	said := false
	set := func(d *time.Duration, values ...time.Duration) {
		for _, value := range values {
			if value != 0 {
				*d, said = max(0, value), true
				return
			}
		}
	}
	set(&p.Snapshots, v.snapshots, top.snapshots)
	set(&p.Keep, v.keep, top.keep)
	set(&p.KeepRaw, top.keepRaw)
	if len(top.levels) > 0 {
		p.Levels, said = top.levels, true
	}
	if top.keepAll {
		p.Keep, said = 0, true
	}
	if !said {
		return shipper.Policy{}
	}
	return p
}
