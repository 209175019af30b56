package compare

import (
	"html/template"
	"math"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
)

// overview is a plot of one figure over several comparisons. For each comparison it has a
// dot for each peer, with a line from the least round to the most.
type overview struct {
	title  string
	about  func(*Comparison) bool // selects the comparisons
	metric string
	ratio  bool // to the first peer, instead of the value
	puts   bool // with bare PUTs in addition to the peers
}

// overviews lists all overviews. Scales are logarithmic: twice is as far from one as
// half.
var overviews = []overview{
	{title: "throughput, × the first peer's", metric: "transactions", ratio: true, about: inClosedLoop},
	{title: "CPU of a transaction or read, µs, Litestream's included", metric: "CPU a transaction or read", about: inClosedLoop},
	{title: "largest WAL, MiB", metric: "largest WAL", about: inClosedLoop},
	{title: "longest stall, ms", metric: "longest stall", about: inClosedLoop},
	{title: "lag p50 from commit to readable in the store, ms", metric: "lag p50", puts: true, about: func(c *Comparison) bool { return c.Workload.Stamp }},
	{title: "restore, s", metric: "restore", about: inClosedLoop},
}

func inClosedLoop(c *Comparison) bool { return c.Workload.Rate == 0 && !c.Workload.idle() }

// overviewPlots returns the plots for which the report has data.
func (r *Report) overviewPlots() ([]template.HTML, error) {
	var all []func() (*plot.Plot, error)
	for _, o := range overviews {
		all = append(all, func() (*plot.Plot, error) { return o.plot(r) })
	}
	return drawAll(all)
}

// plot returns nil without data.
func (o overview) plot(r *Report) (*plot.Plot, error) {
	var names []string
	dots := map[string]*dots{}
	var order []string
	add := func(name string, x int, s Spread) {
		if dots[name] == nil {
			dots[name] = newDots()
			order = append(order, name)
		}
		dots[name].add(float64(x), s)
	}
	for _, c := range r.Comparisons {
		if !o.about(c) {
			continue
		}
		x := len(names)
		names = append(names, c.label(r))
		for _, peer := range c.Peers {
			if s, ok := o.of(c, peer); ok {
				add(peer, x, s)
			}
		}
		if s := c.spreadOfPuts(); o.puts && s.Median > 0 {
			add(barePut, x, s)
		}
	}
	if len(order) == 0 {
		return nil, nil
	}
	p := newPlot(o.title)
	p.Y.Scale, p.Y.Tick.Marker = plot.LogScale{}, plot.LogTicks{Prec: -1}
	for i, name := range order {
		shift := 0.7 * ((float64(i)+0.5)/float64(len(order)) - 0.5)
		if err := dots[name].draw(p, name, shift); err != nil {
			return nil, err
		}
	}
	p.NominalX(names...)
	p.X.Min, p.X.Max = -0.6, float64(len(names))-0.4
	p.X.Tick.Label.Rotation, p.X.Tick.Label.XAlign = 0.5, -1
	p.Legend.Top, p.Legend.Left = true, false
	fitLog(p, 2)
	return p, nil
}

// of returns a peer's figure, and whether a logarithmic scale can show it.
func (o overview) of(c *Comparison, peer string) (Spread, bool) {
	cell := c.row(o.metric).Peers[peer]
	s := cell.Spread
	if o.ratio {
		if cell.Ratio == nil {
			return Spread{}, false
		}
		s = *cell.Ratio
	}
	return s, s.Least > 0
}

// label returns the shortest unambiguous name of a comparison.
func (c *Comparison) label(r *Report) string {
	for _, other := range r.Comparisons {
		if other.Workload.Name == c.Workload.Name && other.Store != c.Store {
			return c.Workload.Name + ", " + c.Store
		}
	}
	return c.Workload.Name
}

// spreadOfPuts returns the spread of the rounds' medians, in milliseconds.
func (c *Comparison) spreadOfPuts() Spread {
	var medians []float64
	for _, p := range c.Puts {
		medians = append(medians, percentile(p.times, 50))
	}
	return spread(medians)
}

// dots are the dots of one peer in a plot.
type dots struct {
	plotter.XYs
	plotter.YErrors
}

func newDots() *dots { return &dots{} }

func (d *dots) add(x float64, s Spread) {
	d.XYs = append(d.XYs, plotter.XY{X: x, Y: s.Median})
	d.YErrors = append(d.YErrors, struct{ Low, High float64 }{s.Median - s.Least, s.Most - s.Median})
}

func (d *dots) draw(p *plot.Plot, name string, shift float64) error {
	for i := range d.XYs {
		d.XYs[i].X += shift
	}
	scatter, err := plotter.NewScatter(d.XYs)
	if err != nil {
		return err
	}
	bars, err := plotter.NewYErrorBars(d)
	if err != nil {
		return err
	}
	scatter.Color, scatter.Radius, scatter.Shape = colorOf(name), vg.Points(3), shapeOf(name)
	bars.Color, bars.CapWidth = colorOf(name), vg.Points(3)
	p.Add(scatter, bars)
	p.Legend.Add(name, scatter)
	return nil
}

// fitLog makes a logarithmic axis end at powers of ten, so that it has ticks, and leaves
// some room above for the legend.
func fitLog(p *plot.Plot, room float64) {
	p.Y.Min = math.Pow(10, math.Floor(math.Log10(p.Y.Min)))
	p.Y.Max = math.Pow(10, math.Ceil(math.Log10(p.Y.Max*room)))
}
