package metrics_test

import (
	"bytes"
	"encoding/json"
	"os"
	"regexp"
	"strings"
	"testing"
	"text/template"
	"time"

	"github.com/VictoriaMetrics/metricsql"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	dto "github.com/prometheus/client_model/go"
	"go.yaml.in/yaml/v4"

	"github.com/walvfs/walvfs/vfs/metrics"
)

// exported returns all metrics by name.
func exported(t *testing.T, opts metrics.Options) map[string]*dto.MetricFamily {
	t.Helper()
	s := newScraper(t, opts)
	s.SetDatabases(several...)
	families, err := s.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	problems, err := promlint.NewWithMetricFamilies(families).Lint()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
	byName := map[string]*dto.MetricFamily{}
	for _, f := range families {
		if !strings.HasSuffix(f.GetHelp(), ".") {
			t.Errorf("%s has no sentence of help: %q", f.GetName(), f.GetHelp())
		}
		byName[f.GetName()] = f
	}
	return byName
}

// The README's table has every metric, with its type and labels, and no other metric.
// With Aggregate, the same metrics exist without db, except those of tips.
func TestTable(t *testing.T) {
	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	var table []string
	for _, row := range regexp.MustCompile("(?m)^\\| `(walvfs_\\w+)` \\| (\\w+) \\| (.*?) ?\\| ").FindAllStringSubmatch(string(readme), -1) {
		table = append(table, row[1]+" "+row[2]+" "+strings.NewReplacer("`", "", ", ", " ").Replace(row[3]))
	}
	each, together := exported(t, metrics.Options{}), exported(t, metrics.Options{Aggregate: true})
	for _, row := range table {
		name := strings.Fields(row)[0]
		if got := describe(each[name]); got != row {
			t.Errorf("the table says %q, it is %q", row, got)
		}
		want := strings.Replace(row, " db", " ", 1)
		if strings.Contains(name, "_tip_") {
			want = ""
		}
		if got := describe(together[name]); strings.Join(strings.Fields(got), " ") != strings.Join(strings.Fields(want), " ") {
			t.Errorf("together, it is %q, not %q", got, want)
		}
		delete(each, name)
	}
	for name := range each {
		t.Errorf("the table lacks %s", name)
	}
}

// The table lists the values of each label, except of paths and levels.
func TestTableValues(t *testing.T) {
	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	for name, f := range exported(t, metrics.Options{}) {
		row := regexp.MustCompile("(?m)^\\| `" + name + "` .*$").FindString(string(readme))
		for _, m := range f.Metric {
			for _, l := range m.Label {
				if l.GetName() != "db" && l.GetName() != "level" && !strings.Contains(row, "`"+l.GetValue()+"`") {
					t.Errorf("of %s, the table does not say %s=%s", name, l.GetName(), l.GetValue())
				}
			}
		}
	}
}

// describe returns a metric as in the table, or nothing if the metric does not exist.
func describe(f *dto.MetricFamily) string {
	if f == nil {
		return ""
	}
	var labels []string
	for _, l := range f.Metric[0].Label {
		labels = append(labels, l.GetName())
	}
	return f.GetName() + " " + strings.ToLower(f.GetType().String()) + " " + strings.Join(labels, " ")
}

// The dashboard's queries are valid, use only existing metrics and labels, and use every
// metric.
func TestDashboard(t *testing.T) {
	content, err := os.ReadFile("dashboard.json")
	if err != nil {
		t.Fatal(err)
	}
	var board struct {
		Templating struct {
			List []struct{ Name, Type, Definition string }
		}
		Panels []struct {
			Title   string
			Type    string
			Targets []struct {
				Expr string
			}
		}
	}
	if err := json.Unmarshal(content, &board); err != nil {
		t.Fatal(err)
	}
	for _, uid := range regexp.MustCompile(`"datasource": \{[^}]*"uid": "(.*)"`).FindAllSubmatch(content, -1) {
		if string(uid[1]) != "${datasource}" {
			t.Errorf("the data source %s is somebody's own", uid[1])
		}
	}
	q := newQueries(t)
	q.variables = regexp.MustCompile(`\$\w+`)
	known := map[string]bool{"$__rate_interval": true}
	for _, v := range board.Templating.List {
		known["$"+v.Name] = true
		if v.Type == "query" {
			q.check("variable "+v.Name, strings.TrimSuffix(strings.TrimPrefix(v.Definition, "label_values("), ", "+v.Name+")"), known)
		} else if v.Type != "datasource" {
			t.Errorf("a variable of type %s", v.Type)
		}
	}
	for _, p := range board.Panels {
		if p.Targets == nil && p.Type != "row" {
			t.Errorf("%s shows nothing", p.Title)
		}
		for _, target := range p.Targets {
			q.check(p.Title, target.Expr, known)
		}
	}
	for name := range q.metrics {
		if !q.used[name] {
			t.Errorf("no panel shows %s", name)
		}
	}
}

// The alerts' queries are valid and use only existing metrics; their annotations can be
// filled in with a label db and without.
func TestAlerts(t *testing.T) {
	content, err := os.ReadFile("alerts.yml")
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		Groups []struct {
			Name  string
			Rules []struct {
				Alert, Expr, For    string
				Labels, Annotations map[string]string
			}
		}
	}
	decoder := yaml.NewDecoder(bytes.NewReader(content))
	decoder.KnownFields(true)
	if err := decoder.Decode(&file); err != nil {
		t.Fatal(err)
	}
	q, alerts := newQueries(t), 0
	for _, group := range file.Groups {
		for _, rule := range group.Rules {
			alerts++
			q.check(rule.Alert, rule.Expr, nil)
			if _, err := time.ParseDuration(rule.For); err != nil || rule.Alert == "" || rule.Labels["severity"] == "" {
				t.Errorf("%+v: %v", rule, err)
			}
			if rule.Annotations["summary"] == "" || rule.Annotations["description"] == "" {
				t.Errorf("%s does not say what to do", rule.Alert)
			}
			for _, text := range rule.Annotations {
				for db, want := range map[string]string{"/app.db": "/app.db", "": "a database"} {
					if got := fill(t, text, map[string]string{"instance": "i", "db": db}); strings.Contains(text, "$labels.db") && !strings.Contains(got, want) {
						t.Errorf("%s: %s", rule.Alert, got)
					}
				}
			}
		}
	}
	if alerts != 2 {
		t.Errorf("%d alerts", alerts)
	}
}

// fill fills in an annotation as Prometheus does.
func fill(t *testing.T, text string, labels map[string]string) string {
	t.Helper()
	parsed, err := template.New("").Funcs(template.FuncMap{"humanizeDuration": func(v float64) string { return "1m" }}).
		Parse("{{$labels := .Labels}}{{$value := .Value}}" + text)
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	if err := parsed.Execute(&b, map[string]any{"Labels": labels, "Value": 61.}); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// queries checks queries against the existing metrics.
type queries struct {
	*testing.T
	metrics   map[string]*dto.MetricFamily
	used      map[string]bool
	variables *regexp.Regexp // of Grafana's
}

func newQueries(t *testing.T) *queries {
	return &queries{T: t, metrics: exported(t, metrics.Options{}), used: map[string]bool{}}
}

// functions holds functions of PromQL, by whether they take a range. The parser accepts
// MetricsQL, a superset, where a range may be left out.
var functions = map[string]bool{"rate": true, "increase": true, "histogram_quantile": false, "time": false}

func (q *queries) check(where, expr string, known map[string]bool) {
	q.Helper()
	if q.variables != nil {
		for _, name := range q.variables.FindAllString(expr, -1) {
			if !known[name] {
				q.Errorf("%s: there is no variable %s", where, name)
			}
		}
		expr = strings.ReplaceAll(expr, "$__rate_interval", "5m")
	}
	parsed, err := metricsql.Parse(expr)
	if err != nil {
		q.Errorf("%s: %s: %v", where, expr, err)
		return
	}
	labels, selectors := map[string]bool{"job": true, "instance": true}, 0
	var asked []string
	metricsql.VisitAll(parsed, func(e metricsql.Expr) {
		switch e := e.(type) {
		case *metricsql.FuncExpr:
			ranged, ok := functions[e.Name]
			if ok && ranged {
				r, is := e.Args[0].(*metricsql.RollupExpr)
				ok = is && r.Window != nil
			}
			if !ok {
				q.Errorf("%s: %s is not PromQL", where, e.AppendString(nil))
			}
		case *metricsql.AggrFuncExpr:
			asked = append(asked, e.Modifier.Args...)
		case *metricsql.MetricExpr:
			selectors++
			for _, filters := range e.LabelFilterss {
				asked = append(asked, q.selector(where, filters, labels)...)
			}
		}
	})
	for _, label := range asked {
		if !labels[label] {
			q.Errorf("%s: nothing in %s has the label %s", where, expr, label)
		}
	}
	if selectors == 0 {
		q.Errorf("%s: %s asks for nothing", where, expr)
	}
}

// selector finds the selected metric, and adds its labels. It returns the labels of its
// filters.
func (q *queries) selector(where string, filters []metricsql.LabelFilter, labels map[string]bool) (by []string) {
	for _, f := range filters {
		if f.Label != "__name__" {
			by = append(by, f.Label)
			continue
		}
		name, family := f.Value, q.metrics[f.Value]
		if family == nil || family.GetType() == dto.MetricType_HISTOGRAM {
			base := name
			for _, suffix := range []string{"_bucket", "_count", "_sum"} {
				base = strings.TrimSuffix(base, suffix)
			}
			if family = q.metrics[base]; base == name || family == nil || family.GetType() != dto.MetricType_HISTOGRAM {
				q.Errorf("%s: there is no %s", where, name)
				return nil
			}
			labels["le"] = strings.HasSuffix(name, "_bucket")
		}
		q.used[family.GetName()] = true
		for _, l := range family.Metric[0].Label {
			labels[l.GetName()] = true
		}
	}
	return by
}
