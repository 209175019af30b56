package compare

import (
	"cmp"
	"slices"
	"time"
)

// quick gives a first impression: the values of -quick where no flag overrides them.
var quick = struct {
	rounds                   int
	duration                 time.Duration
	workloads, stores, peers []string
}{
	rounds:    2,
	duration:  2 * time.Second,
	workloads: []string{"commit-1-normal", "commit-1-full", "paced", "read"},
	stores:    []string{oneS3},
	peers:     []string{"plain", "walvfs", "walvfs-sync", "litestream"},
}

// plan lists the comparisons to make. Peers are in the order of the flag.
func (o *options) plan(usable []peer) []*Comparison {
	var plan []*Comparison
	for _, w := range workloads {
		if !chosen(o.workloads.chosen, w.Name, o.byDefault(quick.workloads, w.Name, !w.Asked)) {
			continue
		}
		stores := w.Stores
		if stores == nil {
			stores = []string{oneS3}
		}
		for _, k := range storeKinds {
			if !chosen(o.stores.chosen, k.Name, o.byDefault(quick.stores, k.Name, slices.Contains(stores, k.Name))) {
				continue
			}
			if w.Size > 0 && o.size > 0 {
				w.Size = int64(o.size) << 20
			}
			c := &Comparison{
				Workload: w, Store: k.Name, Duration: o.durationOf(w).Seconds(),
				Rounds: o.roundsOf(w), Peers: o.peersOf(w, usable),
			}
			if len(c.Peers) > 0 {
				c.Baseline = c.Peers[0]
				plan = append(plan, c)
			}
		}
	}
	return plan
}

// chosen reports whether a flag contains a name, or byDefault if the flag is empty.
func chosen(flag []string, name string, byDefault bool) bool {
	if len(flag) == 0 {
		return byDefault
	}
	return slices.Contains(flag, name)
}

// byDefault reports whether -quick contains a name, or otherwise without -quick.
func (o *options) byDefault(quick []string, name string, otherwise bool) bool {
	if o.quick {
		return slices.Contains(quick, name)
	}
	return otherwise
}

// isChosen reports whether a peer may take part.
func (o *options) isChosen(p peer) bool {
	return chosen(o.peers.chosen, p.Name, o.byDefault(quick.peers, p.Name, !p.Asked))
}

func (o *options) peersOf(w workload, usable []peer) []string {
	var names []string
	for _, p := range usable {
		if chosen(o.peers.chosen, p.Name, w.Peers == nil || slices.Contains(w.Peers, p.Name)) {
			names = append(names, p.Name)
		}
	}
	slices.SortStableFunc(names, func(a, b string) int {
		return cmp.Compare(slices.Index(o.peers.chosen, a), slices.Index(o.peers.chosen, b))
	})
	return names
}

// durationOf returns a workload's own duration if it has one and -duration is not set.
// -quick cannot shorten it.
func (o *options) durationOf(w workload) time.Duration {
	if o.quick {
		return cmp.Or(o.duration, w.Duration, quick.duration)
	}
	return cmp.Or(o.duration, w.Duration, general)
}

// roundsOf returns 1 for a workload of costs, which counts and measures no times.
func (o *options) roundsOf(w workload) int {
	switch {
	case w.Cost:
		return 1
	case o.rounds > 0:
		return o.rounds
	case o.quick:
		return min(quick.rounds, cmp.Or(w.Rounds, quick.rounds))
	}
	return cmp.Or(w.Rounds, generalRounds)
}

// estimated returns the approximate duration of a plan, including setting up and
// restoring.
func estimated(plan []*Comparison) time.Duration {
	const around = 2500 * time.Millisecond
	var sum time.Duration
	for _, c := range plan {
		one := seconds(c.Duration)
		if c.Workload.Cost {
			sum += one + warmUp(time.Now())
			continue
		}
		turns := len(c.Peers)
		if c.Workload.Stamp {
			turns++ // of bare PUTs
		}
		sum += time.Duration(turns*c.Rounds) * (one + around + c.Workload.Settle)
	}
	return sum
}
