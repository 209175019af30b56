package compare

import (
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"time"
)

// Report is the results, and the setup of the measurement.
type Report struct {
	Started     time.Time     `json:"started"`
	Took        float64       `json:"took_s"`
	Machine     Machine       `json:"machine"`
	Settings    Settings      `json:"settings"`
	StartUps    []StartUp     `json:"start_ups,omitempty"`
	Peers       []peer        `json:"peers"`
	PricesOf    string        `json:"prices_of"`
	Promises    []Promise     `json:"promises,omitempty"`
	Comparisons []*Comparison `json:"comparisons"`
}

// Comparison is one workload on one store, run by several peers.
type Comparison struct {
	Workload workload `json:"workload"`
	Store    string   `json:"store"`
	Duration float64  `json:"duration_s"`
	Rounds   int      `json:"rounds"`
	Baseline string   `json:"baseline"` // the first peer
	Peers    []string `json:"peers"`
	Runs     []*Run   `json:"runs"`                // in the order of execution
	Puts     []*Puts  `json:"bare_puts,omitempty"` // one after each round
	Rows     []Row    `json:"summary"`
	Days     []Day    `json:"days,omitempty"` // of a workload of costs
}

// Row is one metric of all peers.
type Row struct {
	Metric string          `json:"metric"`
	Unit   string          `json:"unit,omitempty"`
	Peers  map[string]Cell `json:"peers"`
}

// Cell is one metric of one peer.
type Cell struct {
	Spread
	Ratio *Spread `json:"ratio,omitempty"` // to the baseline, of pairs
}

// of returns a peer's runs.
func (c *Comparison) of(peer string) []*Run {
	var runs []*Run
	for _, r := range c.Runs {
		if r.Peer == peer {
			runs = append(runs, r)
		}
	}
	return runs
}

// summarize computes the rows from the runs.
func (c *Comparison) summarize() {
	c.pairPuts()
	c.Rows = nil
	for _, m := range metrics {
		row := Row{Metric: m.Name, Unit: m.Unit, Peers: map[string]Cell{}}
		some := false
		for _, peer := range c.Peers {
			cell := c.cell(peer, m)
			row.Peers[peer] = cell
			some = some || cell.Most != 0
		}
		if some {
			c.Rows = append(c.Rows, row)
		}
	}
	if c.Workload.Cost {
		c.Days = nil
		for _, r := range c.Runs {
			c.Days = append(c.Days, estimateDay(r))
		}
	}
}

// pairPuts gives each run with lag the bare PUTs of its round.
func (c *Comparison) pairPuts() {
	for _, r := range c.Runs {
		i := slices.IndexFunc(c.Puts, func(p *Puts) bool { return p.Round == r.Round })
		if i >= 0 && r.lag != nil {
			r.puts = c.Puts[i].times
		}
	}
}

func (c *Comparison) cell(peer string, m metric) Cell {
	var values []float64
	for _, r := range c.of(peer) {
		values = append(values, m.value(r))
	}
	cell := Cell{Spread: spread(values)}
	if peer == c.Baseline || m.alone {
		return cell
	}
	if pairs := ratios(c.of(peer), c.of(c.Baseline), m.value); len(pairs) > 0 {
		s := spread(pairs)
		cell.Ratio = &s
	}
	return cell
}

// row finds a row by its metric; the zero Row if the metric was zero for all peers.
func (c *Comparison) row(metric string) Row {
	i := slices.IndexFunc(c.Rows, func(r Row) bool { return r.Metric == metric })
	if i < 0 {
		return Row{}
	}
	return c.Rows[i]
}

// writeJSON writes the report with every run.
func (r *Report) writeJSON(path string) error {
	b, err := json.MarshalIndent(r, "", "\t")
	if err != nil {
		return err
	}
	return os.WriteFile(path, append(b, '\n'), 0o644)
}

// readReport reads the output of writeJSON, and summarizes it again.
func readReport(path string) (*Report, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	r := &Report{}
	if err := json.Unmarshal(b, r); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	for _, c := range r.Comparisons {
		for _, run := range c.Runs {
			if err := run.decode(); err != nil {
				return nil, fmt.Errorf("%s: %w", path, err)
			}
		}
		for _, p := range c.Puts {
			if p.times, err = decodeHistogram(p.Times); err != nil {
				return nil, fmt.Errorf("%s: %w", path, err)
			}
		}
		c.summarize()
	}
	r.judge()
	return r, nil
}
