package compare

import (
	"bytes"
	_ "embed"
	"html/template"
	"os"
	"time"

	"github.com/dustin/go-humanize"
)

//go:embed page.html.tmpl
var pageText string

var page = template.Must(template.New("page").Funcs(template.FuncMap{
	"bytes":   humanize.IBytes,
	"seconds": func(s float64) string { return seconds(s).Round(100 * time.Millisecond).String() },
	"lines":   func() []dayLine { return dayLines },
	"amount":  func(line dayLine, d Day) string { return amount(d.Day.Where(line.keep)) },
	"busy":    (*Comparison).busyText,
	"length":  (*Comparison).length,
	"prices":  func() []Price { return prices },
}).Parse(pageText))

// drawn is a comparison with its plots.
type drawn struct {
	*Comparison
	Plots []template.HTML
}

// writeHTML writes one self-contained page.
func (r *Report) writeHTML(path string) error {
	data := struct {
		*Report
		Comparisons []drawn
		Overview    []template.HTML
	}{Report: r}
	var err error
	if data.Overview, err = r.overviewPlots(); err != nil {
		return err
	}
	for _, c := range r.Comparisons {
		plots, err := c.plots()
		if err != nil {
			return err
		}
		data.Comparisons = append(data.Comparisons, drawn{c, plots})
	}
	var b bytes.Buffer
	if err := page.Execute(&b, data); err != nil {
		return err
	}
	return os.WriteFile(path, b.Bytes(), 0o644)
}
