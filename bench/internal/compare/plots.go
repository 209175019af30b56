package compare

import (
	"bytes"
	"html/template"
	"image/color"
	"math"
	"strconv"

	"github.com/HdrHistogram/hdrhistogram-go"
	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgsvg"
)

// colors of peers, in the order of [peers]: those of Okabe and Ito, which people with
// color blindness can distinguish, and gray.
var colors = []color.Color{
	color.RGBA{0, 0, 0, 255},
	color.RGBA{136, 136, 136, 255},
	color.RGBA{0, 114, 178, 255},
	color.RGBA{86, 180, 233, 255},
	color.RGBA{0, 158, 115, 255},
	color.RGBA{213, 94, 0, 255},
	color.RGBA{230, 159, 0, 255},
	color.RGBA{240, 228, 66, 255},
}

// colorOf returns the color of a peer or of bare PUTs.
func colorOf(name string) color.Color {
	if name == barePut {
		return color.RGBA{204, 121, 167, 255}
	}
	for i, p := range peers {
		if p.Name == name {
			return colors[i%len(colors)]
		}
	}
	return color.Black
}

// shapeOf returns another shape for bare PUTs than for peers.
func shapeOf(name string) draw.GlyphDrawer {
	if name == barePut {
		return draw.CrossGlyph{}
	}
	return draw.CircleGlyph{}
}

// plots returns the plots of a comparison, as SVG.
func (c *Comparison) plots() ([]template.HTML, error) {
	return drawAll([]func() (*plot.Plot, error){
		c.plotRounds,
		func() (*plot.Plot, error) {
			return c.plotPercentiles("latency of a transaction", func(r *Run) *hdrhistogram.Histogram { return r.latency }, nil)
		},
		func() (*plot.Plot, error) {
			return c.plotPercentiles("lag from commit to readable in the store", func(r *Run) *hdrhistogram.Histogram { return r.lag }, c.Puts)
		},
		c.plotDays,
	})
}

// drawAll draws all plots that are not nil, as SVG.
func drawAll(plots []func() (*plot.Plot, error)) (all []template.HTML, err error) {
	for _, next := range plots {
		p, err := next()
		if err != nil {
			return nil, err
		}
		if p == nil {
			continue
		}
		svg, err := svgOf(p)
		if err != nil {
			return nil, err
		}
		all = append(all, svg)
	}
	return all, nil
}

// plotRounds shows the throughput by round: noise that affects both peers of a pair moves
// both up or down.
func (c *Comparison) plotRounds() (*plot.Plot, error) {
	if c.Rounds == 1 || c.Workload.Rate > 0 || c.Workload.SpeedTest > 0 {
		return nil, nil
	}
	p := newPlot("transactions a second, by round")
	p.Y.Min = 0
	var ticks []plot.Tick
	for _, peer := range c.Peers {
		var xy plotter.XYs
		for _, r := range c.of(peer) {
			xy = append(xy, plotter.XY{X: float64(r.Round), Y: float64(r.Transactions) / r.Seconds})
			p.Y.Max = max(p.Y.Max, xy[len(xy)-1].Y*1.3) // room for the legend
		}
		if err := addLine(p, peer, xy, true); err != nil {
			return nil, err
		}
	}
	for _, r := range c.of(c.Baseline) {
		ticks = append(ticks, plot.Tick{Value: float64(r.Round), Label: strconv.Itoa(r.Round)})
	}
	p.X.Tick.Marker = plot.ConstantTicks(ticks)
	p.X.Min, p.X.Max = 0.8, float64(len(ticks))+0.2
	return p, nil
}

// nines are the percentiles of a plot: each step to the right leaves a tenth.
var nines = []plot.Tick{{Value: 0, Label: "0"}, {Value: 0.301, Label: "50 %"}, {Value: 1, Label: "90 %"}, {Value: 2, Label: "99 %"}, {Value: 3, Label: "99.9 %"}, {Value: 4, Label: "99.99 %"}}

// plotPercentiles shows the values of all rounds together, and of all bare PUTs; nil
// without data.
func (c *Comparison) plotPercentiles(title string, of func(*Run) *hdrhistogram.Histogram, puts []*Puts) (*plot.Plot, error) {
	p := newPlot(title + ", ms")
	p.X.Tick.Marker = plot.ConstantTicks(nines)
	p.Y.Scale, p.Y.Tick.Marker = plot.LogScale{}, plot.LogTicks{Prec: -1}
	some := false
	for _, peer := range c.Peers {
		var all []*hdrhistogram.Histogram
		for _, r := range c.of(peer) {
			all = append(all, of(r))
		}
		added, err := addPercentiles(p, peer, mergeHistograms(all))
		if err != nil {
			return nil, err
		}
		some = some || added
	}
	if !some {
		return nil, nil
	}
	var all []*hdrhistogram.Histogram
	for _, put := range puts {
		all = append(all, put.times)
	}
	if _, err := addPercentiles(p, barePut, mergeHistograms(all)); err != nil {
		return nil, err
	}
	p.X.Max += 0.3 // room for the last label
	p.Legend.Top, p.Legend.Left = false, false
	return p, nil
}

// addPercentiles adds a line, except for times that are all zero, such as the lag of a
// peer that waits for the store.
func addPercentiles(p *plot.Plot, name string, h *hdrhistogram.Histogram) (added bool, err error) {
	if h == nil || h.Max() == 0 {
		return false, nil
	}
	most := math.Min(4.3, math.Log10(float64(h.TotalCount())))
	const least = 0.001 // a logarithmic scale has no zero
	var xy plotter.XYs
	for x := 0.0; x <= most; x += 0.05 {
		xy = append(xy, plotter.XY{X: x, Y: max(least, percentile(h, 100*(1-math.Pow(10, -x))))})
	}
	return true, addLine(p, name, xy, false)
}

// mergeHistograms returns nil for no histograms.
func mergeHistograms(all []*hdrhistogram.Histogram) *hdrhistogram.Histogram {
	var sum *hdrhistogram.Histogram
	for _, h := range all {
		switch {
		case h == nil || h.TotalCount() == 0:
		case sum == nil:
			sum = hdrhistogram.Import(h.Export())
		default:
			sum.Merge(h)
		}
	}
	return sum
}

// plotDays shows the requests of a day by kind; nil for other workloads.
func (c *Comparison) plotDays() (*plot.Plot, error) {
	if len(c.Days) == 0 {
		return nil, nil
	}
	p := newPlot("requests a day")
	lines := dayLines[:len(dayLines)-1]
	var names []string
	for _, line := range lines {
		names = append(names, line.Name)
	}
	const width = 14
	for i, d := range c.Days {
		values := plotter.Values{}
		for _, line := range lines {
			values = append(values, float64(d.Day.Where(line.keep).Requests))
		}
		bars, err := plotter.NewBarChart(values, vg.Points(width))
		if err != nil {
			return nil, err
		}
		bars.Color, bars.LineStyle.Width = colorOf(d.Peer), 0
		bars.Offset = vg.Points(width * (float64(i) - float64(len(c.Days)-1)/2))
		p.Add(bars)
		p.Legend.Add(d.Peer, bars)
	}
	p.NominalX(names...)
	p.X.Tick.Label.Rotation, p.X.Tick.Label.XAlign = 0.5, -1
	return p, nil
}

// The library's default font has serifs, unlike the page's.
func init() { plot.DefaultFont.Variant = "Sans" }

func newPlot(title string) *plot.Plot {
	p := plot.New()
	p.Legend.Padding = vg.Points(2)
	p.Title.Text = title
	p.Legend.Top, p.Legend.Left = true, true
	p.Add(plotter.NewGrid())
	return p
}

func addLine(p *plot.Plot, name string, xy plotter.XYs, points bool) error {
	line, dots, err := plotter.NewLinePoints(xy)
	if err != nil {
		return err
	}
	line.Color, dots.Color = colorOf(name), colorOf(name)
	line.Width, dots.Radius = vg.Points(1.5), vg.Points(2.5)
	p.Add(line)
	if points {
		p.Add(dots)
	}
	p.Legend.Add(name, line)
	return nil
}

// svgOf draws a plot without the XML declaration, which a page must not contain.
func svgOf(p *plot.Plot) (template.HTML, error) {
	w, err := p.WriterTo(15*vg.Centimeter, 10*vg.Centimeter, "svg")
	if err != nil {
		return "", err
	}
	var b bytes.Buffer
	if _, err := w.WriteTo(&b); err != nil {
		return "", err
	}
	// Arial is as wide as the font of the layout, and more people have it.
	svg := bytes.ReplaceAll(b.Bytes(), []byte("Liberation Sans"), []byte("Liberation Sans,Arial,Helvetica,sans-serif"))
	if i := bytes.Index(svg, []byte("<svg")); i > 0 {
		svg = svg[i:]
	}
	return template.HTML(svg), nil
}

var _ vg.CanvasWriterTo = (*vgsvg.Canvas)(nil) // links the format in
