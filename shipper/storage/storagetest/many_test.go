package storagetest

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/walvfs/walvfs/shipper/storage"
)

// A counter is a server that always answers with an empty list, and counts its
// connections.
type counter struct {
	*Replica
	made, open atomic.Int32
	before     atomic.Pointer[func()] // called before an answer
}

// counters returns a replica at each kind of object store.
func counters(t testing.TB) map[string]*counter {
	return map[string]*counter{
		"S3": startCounter(t, "<ListBucketResult></ListBucketResult>", Replica{URL: "s3://bucket",
			Options: storage.Options{Region: s3Region, AccessKeyID: "id", SecretAccessKey: "secret"}}),
		"GCS": startCounter(t, `{"kind": "storage#objects"}`, Replica{URL: "gs://bucket"}),
	}
}

func startCounter(t testing.TB, answer string, r Replica) *counter {
	c := &counter{Replica: &r}
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if f := c.before.Load(); f != nil {
			(*f)()
		}
		io.WriteString(w, answer)
	}))
	server.Config.ConnState = func(_ net.Conn, s http.ConnState) {
		switch s {
		case http.StateNew:
			c.made.Add(1)
			c.open.Add(1)
		case http.StateClosed:
			c.open.Add(-1)
		}
	}
	server.Start()
	t.Cleanup(server.Close)
	c.Options.Endpoint = server.URL
	return c
}

// openMany opens several replicas.
func openMany(t testing.TB, r *Replica, n int) []storage.Store {
	t.Helper()
	stores := make([]storage.Store, n)
	for i := range stores {
		var err error
		stores[i], err = storage.Open(t.Context(), fmt.Sprintf("%s/database-%05d.db", r.URL, i), r.Options)
		if err != nil {
			t.Fatal(err)
		}
	}
	return stores
}

func ask(t testing.TB, s storage.Store) {
	for o, err := range s.List(t.Context(), "", "") {
		t.Error(o, err)
	}
}

// TestLastCloses: stores with the same configuration share a connection until the last of
// them is closed; then a new one can be opened.
func TestLastCloses(t *testing.T) {
	for name, c := range counters(t) {
		t.Run(name, func(t *testing.T) {
			stores := openMany(t, c.Replica, 3)
			for i, s := range stores {
				ask(t, s)
				s.Close()
				s.Close() // further closes do not count
				if i < 2 && c.open.Load() != 1 {
					t.Fatalf("%d connections after %d of 3 closed", c.open.Load(), i+1)
				}
			}
			c.wantClosed(t)
			again := openMany(t, c.Replica, 1)[0]
			ask(t, again)
			again.Close()
			c.wantClosed(t)
			if c.made.Load() != 2 {
				t.Errorf("%d connections made, want 2", c.made.Load())
			}
		})
	}
}

func (c *counter) wantClosed(t *testing.T) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); c.open.Load() > 0; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%d connections are left", c.open.Load())
		}
	}
}

// TestNoChurn: 64 stores that work at the same time, repeatedly, keep their 64
// connections. On a busy machine, net/http drops a few: it waits 50 ms for the goroutine
// that has written a request to report it.
func TestNoChurn(t *testing.T) {
	const n, rounds = 64, 5
	for name, c := range counters(t) {
		t.Run(name, func(t *testing.T) {
			stores := openMany(t, c.Replica, n)
			for range rounds {
				var all, waiting sync.WaitGroup
				waiting.Add(n)
				meet := func() { waiting.Done(); waiting.Wait() } // all requests are in progress
				c.before.Store(&meet)
				for _, s := range stores {
					all.Go(func() { ask(t, s) })
				}
				all.Wait()
			}
			if made := c.made.Load(); made > n+n/4 {
				t.Errorf("%d connections made, want %d", made, n)
			}
			for _, s := range stores {
				s.Close()
			}
			c.wantClosed(t)
		})
	}
}

// weight is the cost of stores.
type weight struct {
	heap       int64 // bytes per store
	goroutines int   // in total
}

// weigh opens n stores, uses each, and closes them.
func weigh(t testing.TB, r *Replica, n int) weight {
	before, goroutines := heapInUse(), runtime.NumGoroutine()
	stores := openMany(t, r, n)
	for _, s := range stores {
		ask(t, s)
	}
	w := weight{(heapInUse() - before) / int64(n), runtime.NumGoroutine() - goroutines}
	for _, s := range stores {
		s.Close()
	}
	return w
}

func heapInUse() int64 {
	runtime.GC()
	runtime.GC() // collects what finalizers and pools kept
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

func everywhere(t testing.TB) map[string]*Replica {
	all := map[string]*Replica{"File": File(t)}
	for name, c := range counters(t) {
		all[name] = c.Replica
	}
	return all
}

// TestWeight is invariant 6, Bounded: one process can hold ten thousand databases.
func TestWeight(t *testing.T) {
	for name, r := range everywhere(t) {
		t.Run(name, func(t *testing.T) {
			const n = 1000
			w := weigh(t, r, n)
			// A connection has three: the client's two and the server's.
			if w.heap > 2<<10 || w.goroutines > 10 {
				t.Errorf("%d bytes a store, %d goroutines for %d", w.heap, w.goroutines, n)
			}
		})
	}
}

// BenchmarkOpen opens and closes a store next to one that stays open, and reports the
// weight of ten thousand open stores.
func BenchmarkOpen(b *testing.B) {
	for name, r := range everywhere(b) {
		b.Run(name, func(b *testing.B) {
			w := weigh(b, r, 10_000)
			defer openMany(b, r, 1)[0].Close()
			b.ReportAllocs()
			for b.Loop() {
				openMany(b, r, 1)[0].Close()
			}
			b.ReportMetric(float64(w.heap), "heap-B/store")
			b.ReportMetric(float64(w.goroutines), "goroutines")
		})
	}
}
