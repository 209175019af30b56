package metrics_test

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ncruces/go-sqlite3"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"github.com/walvfs/walvfs/shipper/storage/storagetest"
	"github.com/walvfs/walvfs/vfs/internal/dbtest"
	"github.com/walvfs/walvfs/vfs/metrics"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A world is a database that commits, its replica, and the metrics of the process.
type world struct {
	*testing.T
	store *storagetest.Memory
	path  string
	conn  *sqlite3.Conn
	scraper
}

// newWorld opens a database of a VFS with more URI parameters, and commits a table.
func newWorld(t *testing.T, vfsName string, params ...string) *world {
	t.Helper()
	store := dbtest.NewReplica(t)
	w := &world{T: t, store: store, path: filepath.Join(t.TempDir(), "app.db"), scraper: newScraper(t, metrics.Options{})}
	w.open(vfsName, params...)
	w.exec("CREATE TABLE IF NOT EXISTS t (x)")
	return w
}

func (w *world) open(vfsName string, params ...string) {
	w.Helper()
	params = append([]string{"file:" + w.path + "?vfs=" + vfsName, "interval=0s", "close_timeout=5s", "replica=" + w.store.String()}, params...)
	conn, err := sqlite3.Open(strings.Join(params, "&"))
	if err != nil {
		w.Fatal(err)
	}
	w.conn = conn
	w.Cleanup(func() { conn.Close() })
}

func (w *world) exec(sql string) {
	w.Helper()
	if err := w.conn.Exec(sql); err != nil {
		w.Fatalf("%s: %v", sql, err)
	}
}

func (w *world) flush() {
	w.Helper()
	ctx, cancel := context.WithTimeout(w.Context(), 10*time.Second)
	defer cancel()
	if err := dbtest.Flush(ctx, w.path); err != nil {
		w.Fatal(err)
	}
}

// down makes the store refuse every request.
func (w *world) down() {
	w.store.SetBefore(func(context.Context, string, string) error { return errors.New("down") })
}

// eventually scrapes until the answer satisfies ok: a waiting caller is answered before
// the event is counted.
func (w *world) eventually(what string, ok func(samples) bool) samples {
	w.Helper()
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		if s := w.scrape(w.T); ok(s) {
			return s
		} else if time.Now().After(deadline) {
			w.Fatalf("not so: %s\n%v", what, s)
		}
	}
}

// uploaded waits until so many files of level 0 are counted.
func (w *world) uploaded(files float64) samples {
	w.Helper()
	name := `walvfs_uploads_total{level="0"}`
	s := w.eventually("as many uploads as files", func(s samples) bool { return s[name] >= files })
	s.want(w.T, samples{name: files})
	return s
}

// db returns the name of a sample of the world's database.
func (w *world) db(name string) string { return fmt.Sprintf("%s{db=%q}", name, w.path) }

func (w *world) state(state string) string {
	return fmt.Sprintf("walvfs_state{db=%q,state=%q}", w.path, state)
}

// A scraper is a registry with a collector.
type scraper struct {
	*metrics.Collector
	registry *prometheus.Registry
}

func newScraper(t testing.TB, opts metrics.Options) scraper {
	s := scraper{metrics.NewCollector(opts), prometheus.NewRegistry()}
	if _, ok := t.(*testing.T); ok {
		s.registry = prometheus.NewPedanticRegistry()
	}
	t.Cleanup(s.Close)
	s.registry.MustRegister(s.Collector)
	return s
}

// samples are values by name and labels: name{label="value",...}. A histogram has its
// name followed by _count and _sum.
type samples map[string]float64

func (s scraper) scrape(t testing.TB) samples {
	t.Helper()
	families, err := s.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	all := samples{}
	for _, f := range families {
		for _, m := range f.Metric {
			var labels []string
			for _, l := range m.Label {
				labels = append(labels, fmt.Sprintf("%s=%q", l.GetName(), l.GetValue()))
			}
			suffix := ""
			if labels != nil {
				suffix = "{" + strings.Join(labels, ",") + "}"
			}
			switch {
			case m.Gauge != nil:
				all[f.GetName()+suffix] = m.Gauge.GetValue()
			case m.Counter != nil:
				all[f.GetName()+suffix] = m.Counter.GetValue()
			case m.Histogram != nil:
				all[f.GetName()+"_count"+suffix] = float64(m.Histogram.GetSampleCount())
				all[f.GetName()+"_sum"+suffix] = m.Histogram.GetSampleSum()
			}
		}
	}
	return all
}

// want fails unless the samples have these values.
func (s samples) want(t testing.TB, want samples) {
	t.Helper()
	for name, v := range want {
		if got, ok := s[name]; !ok || got != v {
			t.Errorf("%s is %v (%v), not %v", name, got, ok, v)
		}
	}
}

// wantNone fails if the name of a sample contains part.
func (s samples) wantNone(t testing.TB, part string) {
	t.Helper()
	for name := range s {
		if strings.Contains(name, part) {
			t.Errorf("there is %s", name)
		}
	}
}
