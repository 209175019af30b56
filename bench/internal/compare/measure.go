package compare

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/term"
)

// measure makes all comparisons and prints each as it is done. What was done before
// an error is in the report.
func (o *options) measure(ctx context.Context, out io.Writer) (*Report, error) {
	rounds := cmp.Or(o.rounds, 5)
	if o.quick {
		rounds = cmp.Or(o.rounds, 2)
	}
	r := &Report{Started: time.Now().UTC(), Machine: thisMachine(), PricesOf: pricesOf}
	usable := o.usablePeers(r)
	plan := o.plan(usable)
	if len(plan) == 0 {
		return r, fmt.Errorf("nothing to measure: %s", strings.Join(r.Skipped, "; "))
	}
	r.Settings = o.settings(rounds)
	printHead(out, r, estimated(plan, rounds))
	err := lend(ctx, func(l *lender) error {
		j := job{profiles: o.profiles}
		if slices.ContainsFunc(usable, func(p peer) bool { return p.Litestream != nil }) {
			j.litestream = litestreamProgram(l)
		}
		for _, c := range plan {
			if err := c.measure(ctx, j, usable, rounds); err != nil {
				return err
			}
			c.summarize()
			r.Comparisons = append(r.Comparisons, c)
			printComparison(out, c)
		}
		return nil
	})
	r.Took = time.Since(r.Started).Seconds()
	return r, err
}

// usablePeers are those that walvfs, as it is, has.
func (o *options) usablePeers(r *Report) []peer {
	for _, p := range peers {
		if len(o.peers.chosen) > 0 && !slices.Contains(o.peers.chosen, p.Name) {
			continue
		}
		if why := p.available(); why != "" {
			r.Skipped = append(r.Skipped, fmt.Sprintf("%s: %s", p.Name, why))
			continue
		}
		r.Peers = append(r.Peers, p)
	}
	return r.Peers
}

// plan lists the comparisons to make. Peers are in the order of the flag.
func (o *options) plan(usable []peer) []*Comparison {
	var plan []*Comparison
	for _, w := range workloads {
		if !chosen(o.workloads.chosen, w.Name, !w.Cost) {
			continue
		}
		d := cmp.Or(o.duration, w.Duration, general)
		if o.quick {
			d = cmp.Or(o.duration, 2*time.Second)
		}
		stores := w.Stores
		if stores == nil {
			stores = []string{oneS3}
		}
		for _, k := range storeKinds {
			if !chosen(o.stores.chosen, k.Name, slices.Contains(stores, k.Name)) {
				continue
			}
			c := &Comparison{Workload: w, Store: k.Name, Duration: d.Seconds(), Peers: o.peersOf(w, usable)}
			if len(c.Peers) > 0 {
				c.Baseline = c.Peers[0]
				plan = append(plan, c)
			}
		}
	}
	return plan
}

// chosen is a flag's word, or the default if it has none.
func chosen(flag []string, name string, byDefault bool) bool {
	if len(flag) == 0 {
		return byDefault
	}
	return slices.Contains(flag, name)
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

func (o *options) settings(rounds int) Settings {
	return Settings{
		Quick: o.quick, Rounds: rounds, Duration: o.duration.String(), Latency: addedLatency.String(),
		Workloads: o.workloads.chosen, Stores: o.stores.chosen, Peers: o.peers.chosen,
	}
}

// roundsOf is how many rounds a workload has.
func roundsOf(w workload, rounds int) int {
	if w.OneRound {
		return 1
	}
	return rounds
}

// measure runs a comparison: in each round, all peers in turn, A B C A B C. A
// workload of costs is light and has no times to spoil: all peers at once.
func (c *Comparison) measure(ctx context.Context, j job, usable []peer, rounds int) error {
	j.workload, j.duration = c.Workload, seconds(c.Duration)
	j.store = storeKinds[slices.IndexFunc(storeKinds, func(k storeKind) bool { return k.Name == c.Store })]
	for round := range roundsOf(c.Workload, rounds) {
		j.round = round + 1
		jobs := make([]job, len(c.Peers))
		for i, name := range c.Peers {
			jobs[i] = j
			jobs[i].peer = usable[slices.IndexFunc(usable, func(p peer) bool { return p.Name == name })]
		}
		runs, err := runAll(ctx, jobs)
		if err != nil {
			return err
		}
		c.Runs = append(c.Runs, runs...)
	}
	return nil
}

func runAll(ctx context.Context, jobs []job) ([]*Run, error) {
	runs, errs := make([]*Run, len(jobs)), make([]error, len(jobs))
	if !jobs[0].workload.Cost {
		for i, j := range jobs {
			j.warmUp = j.workload.Settle
			progress("%s on %s, round %d: %s", j.workload.Name, j.store.Name, j.round, j.peer.Name)
			if runs[i], errs[i] = j.run(ctx); errs[i] != nil {
				break
			}
		}
		progress("")
		return runs, errors.Join(errs...)
	}
	var wg sync.WaitGroup
	for i, j := range jobs {
		j.warmUp = warmUp(time.Now())
		wg.Go(func() { runs[i], errs[i] = j.run(ctx) })
	}
	wg.Wait()
	return runs, errors.Join(errs...)
}

// progress says what is under way, in place of what it said before, to people.
func progress(format string, args ...any) {
	if term.IsTerminal(int(os.Stderr.Fd())) {
		fmt.Fprintf(os.Stderr, "\r\033[K"+format, args...)
	}
}
