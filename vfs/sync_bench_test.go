package vfs_test

import (
	"context"
	"fmt"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ncruces/go-sqlite3/driver"

	"github.com/walvfs/walvfs/shipper/storage/storagetest"
)

// BenchmarkSync measures the cost of durability=sync with a store that takes 30 ms for
// each request: one connection waits for one upload, many connections share uploads.
//
//	go test ./vfs -run xxx -bench Sync -benchtime 5s
func BenchmarkSync(b *testing.B) {
	for _, conns := range []int{1, 64} {
		b.Run(fmt.Sprintf("connections=%d", conns), func(b *testing.B) { benchSync(b, conns) })
	}
}

func benchSync(b *testing.B, conns int) {
	name := strings.NewReplacer("/", "-", "=", "-").Replace(strings.ToLower(b.Name()))
	store := &storagetest.Memory{Name: name}
	var uploads, spent atomic.Int64
	store.SetBefore(func(_ context.Context, op, _ string) error {
		began := time.Now()
		time.Sleep(30 * time.Millisecond)
		if op == "create" {
			uploads.Add(1)
			spent.Add(int64(time.Since(began)))
		}
		return nil
	})
	memories.Store(name, store)
	path := filepath.Join(b.TempDir(), "app.db")
	db, err := driver.Open("file:" + path + "?vfs=replicated&durability=sync&sync_timeout=1m&_pragma=synchronous(normal)&_pragma=busy_timeout(60000)&replica=" + url.QueryEscape(store.String()))
	if err != nil {
		b.Fatal(err)
	}
	defer db.Close()
	db.SetMaxOpenConns(conns)
	db.SetMaxIdleConns(conns)
	if _, err := db.Exec("CREATE TABLE t (id INTEGER PRIMARY KEY, x)"); err != nil {
		b.Fatal(err)
	}
	var mu sync.Mutex
	var took []time.Duration
	uploads.Store(0)
	spent.Store(0)
	b.ResetTimer()
	began := time.Now()
	var left atomic.Int64
	left.Store(int64(b.N))
	var group sync.WaitGroup
	for range conns {
		group.Go(func() {
			var mine []time.Duration
			for left.Add(-1) >= 0 {
				began := time.Now()
				if _, err := db.Exec("INSERT INTO t (x) VALUES (randomblob(100))"); err != nil {
					b.Error(err)
					break
				}
				mine = append(mine, time.Since(began))
			}
			mu.Lock()
			defer mu.Unlock()
			took = append(took, mine...)
		})
	}
	group.Wait()
	all := time.Since(began)
	b.StopTimer()
	slices.Sort(took)
	upload := time.Duration(spent.Load() / uploads.Load()).Seconds() // as measured on this machine
	b.ReportMetric(took[len(took)/2].Seconds()/upload, "p50-uploads")
	b.ReportMetric(took[len(took)*99/100].Seconds()/upload, "p99-uploads")
	b.ReportMetric(float64(b.N)/all.Seconds(), "commits/s")
	b.ReportMetric(float64(uploads.Load())/all.Seconds(), "uploads/s")
}
