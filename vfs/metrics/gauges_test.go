package metrics_test

import (
	"errors"
	"fmt"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ncruces/go-sqlite3"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/walvfs/walvfs/shipper"
	_ "github.com/walvfs/walvfs/shipper/storage/file"
	"github.com/walvfs/walvfs/vfs"
	"github.com/walvfs/walvfs/vfs/metrics"
)

func database(path string, s shipper.Status) shipper.Status {
	s.Path, s.Replica = path, "s3://bucket/secret"
	return s
}

var several = []shipper.Status{
	database("/a", shipper.Status{State: shipper.Streaming, Tip: shipper.Position{TXID: 7, Time: time.UnixMilli(1500)}}),
	database("/b", shipper.Status{State: shipper.Retrying, Lag: 3 * time.Second, LagCommits: 2, LagBytes: 8192,
		Tip: shipper.Position{TXID: 9, Time: time.UnixMilli(2500)}, LevelsErr: errors.New("full"), Unfenced: true}),
	database("/c", shipper.Status{State: shipper.Retrying, Lag: 2 * time.Second, LagCommits: 3, LagBytes: 4096, LevelsErr: errors.New("full")}),
}

// Each database has the values of its status, and no tip until the tip is known.
func TestEach(t *testing.T) {
	s := newScraper(t, metrics.Options{})
	s.SetDatabases(several...)
	got := s.scrape(t)
	got.want(t, samples{
		`walvfs_lag_seconds{db="/a"}`: 0, `walvfs_lag_seconds{db="/b"}`: 3, `walvfs_lag_seconds{db="/c"}`: 2,
		`walvfs_lag_commits{db="/b"}`: 2, `walvfs_lag_bytes{db="/b"}`: 8192,
		`walvfs_tip_txid{db="/a"}`: 7, `walvfs_tip_timestamp_seconds{db="/a"}`: 1.5,
		`walvfs_levels_error{db="/a"}`: 0, `walvfs_levels_error{db="/b"}`: 1,
		`walvfs_unfenced{db="/b"}`: 1, `walvfs_unfenced{db="/c"}`: 0,
		`walvfs_state{db="/a",state="streaming"}`: 1, `walvfs_state{db="/b",state="retrying"}`: 1, `walvfs_state{db="/b",state="streaming"}`: 0,
	})
	got.wantNone(t, `walvfs_tip_txid{db="/c"}`)
	got.wantNone(t, `walvfs_tip_timestamp_seconds{db="/c"}`)
	got.wantNone(t, "bucket/")
}

// Together, databases have the largest lag, and the number of databases in each state.
func TestAggregate(t *testing.T) {
	s := newScraper(t, metrics.Options{Aggregate: true})
	s.scrape(t).want(t, samples{"walvfs_lag_seconds": 0, `walvfs_state{state="halted"}`: 0})
	s.SetDatabases(several...)
	got := s.scrape(t)
	got.want(t, samples{
		"walvfs_lag_seconds":              3,
		"walvfs_lag_commits":              5,
		"walvfs_lag_bytes":                12288,
		"walvfs_levels_error":             2,
		"walvfs_unfenced":                 1,
		`walvfs_state{state="starting"}`:  0,
		`walvfs_state{state="streaming"}`: 1,
		`walvfs_state{state="retrying"}`:  2,
		`walvfs_state{state="halted"}`:    0,
	})
	got.wantNone(t, "db=")
	got.wantNone(t, "tip")
}

// A path that is not UTF-8 fails no scrape, and its label is unique.
func TestPathNotUTF8(t *testing.T) {
	s := newScraper(t, metrics.Options{})
	s.SetDatabases(database("/a\xff", shipper.Status{}), database("/a\xfe", shipper.Status{}), database(`/a\xff`, shipper.Status{}))
	n := 0
	for name := range s.scrape(t) {
		if strings.HasPrefix(name, "walvfs_lag_seconds{") {
			n++
		}
	}
	if n != 3 {
		t.Errorf("%d databases", n)
	}
}

// Request counts only grow, whichever databases open and close.
func TestRequests(t *testing.T) {
	s := newScraper(t, metrics.Options{Aggregate: true})
	for i, test := range []struct {
		open []shipper.Status
		puts float64
	}{
		{nil, 0},
		{[]shipper.Status{asked("/a", 3)}, 3},
		{[]shipper.Status{asked("/a", 5), asked("/b", 10)}, 15},
		{[]shipper.Status{asked("/b", 10)}, 15},                // closed
		{[]shipper.Status{asked("/a", 6), asked("/b", 2)}, 23}, // reopened, one unseen in between
		{[]shipper.Status{asked("/a", 7), asked("/b", 3)}, 25},
		{nil, 25},
	} {
		s.SetDatabases(test.open...)
		got := s.scrape(t)
		got.want(t, samples{
			`walvfs_requests_total{kind="put"}`:    test.puts,
			`walvfs_requests_total{kind="get"}`:    2 * test.puts,
			`walvfs_requests_total{kind="list"}`:   3 * test.puts,
			`walvfs_requests_total{kind="delete"}`: 4 * test.puts,
		})
		if t.Failed() {
			t.Fatalf("at step %d", i)
		}
	}
}

// A database was reopened if any of its request counts has decreased.
func TestRequestsFewer(t *testing.T) {
	for _, again := range []shipper.Requests{
		{Put: 1, Get: 10, List: 10, Delete: 10},
		{Put: 10, Get: 1, List: 10, Delete: 10},
		{Put: 10, Get: 10, List: 1, Delete: 10},
		{Put: 10, Get: 10, List: 10, Delete: 1},
	} {
		s := newScraper(t, metrics.Options{Aggregate: true})
		for _, r := range []shipper.Requests{{Put: 10, Get: 10, List: 10, Delete: 10}, again} {
			s.SetDatabases(database("/a", shipper.Status{Requests: r}))
			s.scrape(t)
		}
		s.scrape(t).want(t, samples{
			`walvfs_requests_total{kind="put"}`:    float64(10 + again.Put),
			`walvfs_requests_total{kind="get"}`:    float64(10 + again.Get),
			`walvfs_requests_total{kind="list"}`:   float64(10 + again.List),
			`walvfs_requests_total{kind="delete"}`: float64(10 + again.Delete),
		})
	}
}

func asked(path string, n int64) shipper.Status {
	return database(path, shipper.Status{Requests: shipper.Requests{Put: n, Get: 2 * n, List: 3 * n, Delete: 4 * n}})
}

// Concurrent scrapes count each request once.
func TestScrapesAtOnce(t *testing.T) {
	s := newScraper(t, metrics.Options{Aggregate: true})
	const scrapes = 200
	var mu sync.Mutex
	n := int64(0)
	s.SetSource(func() []shipper.Status {
		mu.Lock()
		n++
		list := []shipper.Status{asked("/a", n)}
		mu.Unlock()
		time.Sleep(time.Duration(list[0].Requests.Put%3) * 10 * time.Microsecond) // answers overtake each other
		return list
	})
	var group sync.WaitGroup
	for range 4 {
		group.Go(func() {
			for range scrapes / 4 {
				s.scrape(t)
			}
		})
	}
	group.Wait()
	s.SetSource(func() []shipper.Status { return []shipper.Status{asked("/a", scrapes)} })
	s.scrape(t).want(t, samples{`walvfs_requests_total{kind="put"}`: scrapes})
}

// BenchmarkScrape measures a whole HTTP scrape of so many databases, without the time to
// read their status: BenchmarkDatabases measures that.
func BenchmarkScrape(b *testing.B) {
	for _, n := range []int{1, 100, 10_000} {
		list := make([]shipper.Status, n)
		for i := range list {
			list[i] = several[i%2]
			list[i].Path = fmt.Sprintf("/var/lib/app/tenants/%06d/app.db", i)
		}
		for _, aggregate := range []bool{false, true} {
			b.Run(fmt.Sprintf("databases=%d/aggregate=%v", n, aggregate), func(b *testing.B) {
				s := newScraper(b, metrics.Options{Aggregate: aggregate})
				s.SetDatabases(list...)
				handler := promhttp.HandlerFor(s.registry, promhttp.HandlerOpts{})
				b.ReportAllocs()
				for b.Loop() {
					w := httptest.NewRecorder()
					handler.ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
					b.ReportMetric(float64(w.Body.Len()), "bytes/scrape")
				}
			})
		}
	}
}

// BenchmarkDatabases measures reading the status of 200 databases.
func BenchmarkDatabases(b *testing.B) {
	const n = 200
	dir := b.TempDir()
	for i := range n {
		conn, err := sqlite3.Open(fmt.Sprintf("file:%s/%d.db?vfs=replicated&replica=file://%s/replica/%d", dir, i, dir, i))
		if err != nil {
			b.Fatal(err)
		}
		defer conn.Close()
		if err := conn.Exec("CREATE TABLE t (x)"); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportAllocs()
	for b.Loop() {
		vfs.Databases()
	}
	b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N)/n, "us/database")
}

// BenchmarkEvent measures the cost of an event for a commit that waits for the replica.
func BenchmarkEvent(b *testing.B) {
	s := newScraper(b, metrics.Options{})
	var e shipper.Event = shipper.Confirmed{Took: time.Millisecond}
	b.ReportAllocs()
	for b.Loop() {
		s.Tell(e)
	}
}
