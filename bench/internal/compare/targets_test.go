package compare

import (
	"bytes"
	"strings"
	"testing"
)

// closedLoop returns a comparison in which round n has the given transactions, in one
// second.
func closedLoop(workload string, counts map[string][]int64) *Comparison {
	c := &Comparison{Store: oneS3}
	c.Workload.Name = workload
	for peer, all := range counts {
		for i, n := range all {
			c.Runs = append(c.Runs, &Run{Peer: peer, Round: i + 1, Transactions: n, Seconds: 1, Counted: 1,
				App: Usage{CPU: 0.5}, latency: newHistogram()})
		}
	}
	return c
}

func promise(t *testing.T, r *Report, figure string) Promise {
	t.Helper()
	for _, p := range r.Promises {
		if p.Figure == figure {
			return p
		}
	}
	t.Fatalf("nothing on %s in %+v", figure, r.Promises)
	return Promise{}
}

// A ratio is judged by the median of pairs, whatever the first peer is.
func TestJudgeRatio(t *testing.T) {
	for _, test := range []struct {
		walvfs []int64
		met    bool
	}{
		{[]int64{97, 980, 5}, true},  // 0.97, 0.98, 0.05
		{[]int64{96, 980, 5}, false}, // 0.96, 0.97, 0.05
	} {
		r := &Report{Comparisons: []*Comparison{closedLoop("commit-1-normal", map[string][]int64{
			"walvfs": test.walvfs, "plain": {100, 1000, 100}})}}
		r.judge()
		p := promise(t, r, "throughput")
		if want := "at least 0.97 of plain"; p.Target != want || p.Rounds != 3 {
			t.Errorf("%+v", p)
		}
		if p.Met != test.met {
			t.Errorf("%v: %+v", test.walvfs, p)
		}
		for _, p := range r.Promises {
			if strings.Contains(p.Target, "litestream") {
				t.Errorf("judged against a peer that did not run: %+v", p)
			}
		}
	}
}

// An idle minute is a minute, however long the measurement, and one request is too many.
func TestJudgeIdle(t *testing.T) {
	c := closedLoop("idle", map[string][]int64{"walvfs": {0}})
	run := c.Runs[0]
	run.Counted, run.App.CPU = 30, 0.004
	r := &Report{Comparisons: []*Comparison{c}}
	r.judge()
	if p := promise(t, r, "CPU of 1,000 databases in 60 s"); p.Measured.Median != 8 || !p.Met || p.Target != "at most 10.0 ms" {
		t.Errorf("%+v", p)
	}
	if p := promise(t, r, "requests of 1,000 databases in 60 s"); !p.Met {
		t.Errorf("%+v", p)
	}
	run.App.CPU, run.Traffic = 0.006, Counts{{Kind: List, Level: NoLevel, Requests: 1}}
	r.judge()
	for _, p := range r.Promises {
		if p.Met {
			t.Errorf("%+v", p)
		}
	}
}

// Lag is judged only on the promised server, and only with bare PUTs.
func TestJudgeLag(t *testing.T) {
	c := closedLoop("paced-2s", map[string][]int64{"walvfs": {20}})
	c.Runs[0].lag = newHistogram()
	c.Runs[0].lag.RecordValue(3e6)
	r := &Report{Comparisons: []*Comparison{c}}
	noLag := func(when string) {
		t.Helper()
		r.judge()
		for _, p := range r.Promises {
			if strings.Contains(p.Figure, "lag") {
				t.Errorf("%s: %+v", when, p)
			}
		}
	}
	noLag("without bare PUTs")
	c.Runs[0].puts = newHistogram()
	c.Runs[0].puts.RecordValue(2.2e6)
	r.judge()
	if p := promise(t, r, "lag p50 by default"); !p.Met || p.Target != "at most 1.50 of a bare PUT" {
		t.Errorf("%+v", p)
	}
	late := *c.Runs[0]
	late.Round, late.lag = 2, newHistogram()
	late.lag.RecordValue(9e6)
	c.Runs = append(c.Runs, &late)
	r.judge()
	if p := promise(t, r, "lag p50 by default"); p.Met || p.Measured.Least > 1.5 {
		t.Errorf("one of two rounds is not the median: %+v", p)
	}
	c.Store = "file"
	noLag("on a directory")
}

// Memory is judged by the excess over plain's, and a busy machine is reported.
func TestJudgeMore(t *testing.T) {
	c := closedLoop("commit-long", map[string][]int64{"walvfs": {1, 1, 1}, "plain": {1, 1, 1}})
	for _, r := range c.Runs {
		r.App.Memory = 50 << 20
		if r.Peer == "walvfs" {
			r.App.Memory = uint64(70+r.Round) << 20
		}
	}
	r := &Report{Comparisons: []*Comparison{c}}
	r.judge()
	if p := promise(t, r, "memory"); p.Measured.Median != 22 || p.Verdict() != "met" || p.Target != "at most 24.0 MiB more than plain" {
		t.Errorf("%+v", p)
	}
	for _, run := range c.Runs {
		run.App.Memory *= 2
		run.Busy.Others = 0.06
		run.Busy.Stolen = 0.03 * float64(run.Round)
	}
	r.judge()
	if p := promise(t, r, "memory"); p.Met || p.Verdict() != "not met (2 of 3 rounds on a busy machine)" {
		t.Errorf("%+v: %s", p, p.Verdict())
	}
	if text := c.busyText(); !strings.Contains(text, "in 4 of 6 runs") || !strings.Contains(text, "15 % of a core") {
		t.Error(text)
	}
}

func TestPrintPromises(t *testing.T) {
	var out bytes.Buffer
	printPromises(&out, nil)
	if out.Len() > 0 {
		t.Errorf("of nothing: %s", &out)
	}
	printPromises(&out, []Promise{{Figure: "commit p50", Target: "at most 1.03 of plain", Measured: Spread{1.034, 1.03, 1.2}, Rounds: 3}})
	for _, want := range []string{"at most 1.03 of plain", "1.034 [1.03–1.2]", "not met"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("the table lacks %q: %s", want, &out)
		}
	}
}
