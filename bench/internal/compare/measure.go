package compare

import (
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

// measure makes all comparisons and prints each when it is done. After an error, the
// report has the comparisons made before.
func (o *options) measure(ctx context.Context, out io.Writer) (*Report, error) {
	putStores(o.storeDir)
	r := &Report{Started: time.Now().UTC(), Machine: thisMachine(), PricesOf: pricesOf}
	r.Peers = o.chosenPeers()
	plan := o.plan(r.Peers)
	if len(plan) == 0 {
		return r, errors.New("nothing to measure: none of these peers has this workload on this store")
	}
	r.Settings = o.settings()
	printHead(out, r, estimated(plan))
	var err error
	if r.StartUps, r.Machine.Versions["SQLite"], err = measureStartUps(ctx); err == nil {
		printStartUps(out, r.StartUps)
		err = o.measureAll(ctx, out, r, plan)
	}
	r.Took = time.Since(r.Started).Seconds()
	r.judge()
	printPromises(out, r.Promises)
	if ctx.Err() != nil {
		err = errInterrupted // instead of the errors of processes that the interrupt ended
	}
	return r, err
}

var errInterrupted = errors.New("interrupted: only what was measured before is shown and written")

// measureAll makes the comparisons of a plan, until the first error.
func (o *options) measureAll(ctx context.Context, out io.Writer, r *Report, plan []*Comparison) error {
	return lend(ctx, func(l *lender) error {
		j := job{profiles: o.profiles}
		if slices.ContainsFunc(r.Peers, func(p peer) bool { return p.Litestream != nil }) {
			j.litestream = litestreamProgram(l)
		}
		if slices.ContainsFunc(plan, func(c *Comparison) bool { return c.Workload.SpeedTest > 0 }) {
			j.speedtest = speedtestProgram(l)
		}
		for i, c := range plan {
			announce("%d of %d: %s on %s, %d rounds of %s", i+1, len(plan), c.Workload.Name, c.Store, c.Rounds, strings.Join(c.Peers, ", "))
			err := c.measure(ctx, j, r.Peers)
			if len(c.Runs) > 0 { // whole rounds before an error
				c.summarize()
				r.Comparisons = append(r.Comparisons, c)
				printComparison(out, c)
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
}

// chosenPeers returns the peers that take part.
func (o *options) chosenPeers() (chosen []peer) {
	for _, p := range peers {
		if o.isChosen(p) {
			chosen = append(chosen, p)
		}
	}
	return chosen
}

func (o *options) settings() Settings {
	return Settings{
		Quick: o.quick, Rounds: o.roundsOf(workload{}), Duration: o.durationOf(workload{}).String(), Latency: addedLatency.String(),
		Workloads: o.workloads.chosen, Stores: o.stores.chosen, Peers: o.peers.chosen,
	}
}

// measure runs a comparison: in each round, all peers in turn, A B C A B C, and then the
// bare PUTs, if there is lag to compare with them. A workload of costs is light and
// measures no times, so all its peers run at once.
func (c *Comparison) measure(ctx context.Context, j job, usable []peer) error {
	j.workload, j.duration = c.Workload, seconds(c.Duration)
	j.store = storeKinds[slices.IndexFunc(storeKinds, func(k storeKind) bool { return k.Name == c.Store })]
	for round := range c.Rounds {
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
		if err := c.measurePuts(ctx, j, runs); err != nil {
			return err
		}
	}
	return nil
}

func (c *Comparison) measurePuts(ctx context.Context, j job, runs []*Run) error {
	size := sizeOfPuts(runs)
	if size == 0 {
		return nil
	}
	progress("%s on %s, round %d: bare PUTs", j.workload.Name, j.store.Name, j.round)
	defer progress("")
	p, err := j.put(ctx, size)
	if err != nil {
		return err
	}
	c.Puts = append(c.Puts, p)
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
	until := time.Now().Add(warmUp(time.Now()) + jobs[0].duration)
	progress("%s on %s: all peers at once, until %s", jobs[0].workload.Name, jobs[0].store.Name, until.Format("15:04:05"))
	defer progress("")
	var wg sync.WaitGroup
	for i, j := range jobs {
		j.warmUp = warmUp(time.Now())
		wg.Go(func() { runs[i], errs[i] = j.run(ctx) })
	}
	wg.Wait()
	return runs, errors.Join(errs...)
}

// announce prints the next step to a log, which does not show progress.
func announce(format string, args ...any) {
	if !term.IsTerminal(int(os.Stderr.Fd())) {
		fmt.Fprintf(os.Stderr, format+"\n", args...)
	}
}

// progress shows the current step on a terminal, in place of the previous step.
func progress(format string, args ...any) {
	if term.IsTerminal(int(os.Stderr.Fd())) {
		fmt.Fprintf(os.Stderr, "\r\033[K"+format, args...)
	}
}
