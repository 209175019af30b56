package vfs_test

import (
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/ncruces/go-sqlite3"

	"github.com/walvfs/walvfs/shipper/storage/storagetest"
	"github.com/walvfs/walvfs/vfs"
)

var many = flag.Int("many", 1000, "databases of BenchmarkManyDatabases")

// usage is a process's use of resources.
type usage struct {
	heap, resident int64 // bytes
	goroutines     int
	files          int // open
}

// cpu returns the process's CPU time.
func cpu() time.Duration {
	var r syscall.Rusage
	syscall.Getrusage(syscall.RUSAGE_SELF, &r)
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}

func measure() (u usage) {
	debug.FreeOSMemory()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	u.heap, u.goroutines = int64(m.HeapAlloc), runtime.NumGoroutine()
	open, _ := os.ReadDir("/proc/self/fd")
	u.files = len(open)
	b, _ := os.ReadFile("/proc/self/statm")
	if f := strings.Fields(string(b)); len(f) > 1 {
		pages, _ := strconv.ParseInt(f[1], 10, 64)
		u.resident = pages * int64(os.Getpagesize())
	}
	return u
}

// BenchmarkManyDatabases measures the cost of idle open databases, beyond SQLite's own,
// and the load on the store when they all open at once.
//
//	go test ./vfs -run xxx -bench Many -benchtime 1x -many 10000
func BenchmarkManyDatabases(b *testing.B) {
	dir := b.TempDir()
	stores := make([]*storagetest.Memory, *many)
	var requests, now, most atomic.Int64
	for i := range stores {
		m := &storagetest.Memory{Name: "many/" + strconv.Itoa(i)}
		m.SetBefore(func(context.Context, string, string) error {
			requests.Add(1)
			n := now.Add(1)
			for old := most.Load(); n > old && !most.CompareAndSwap(old, n); old = most.Load() {
			}
			time.Sleep(time.Millisecond)
			now.Add(-1)
			return nil
		})
		memories.Store(m.Name, m)
		stores[i] = m
	}
	conns := make([]*sqlite3.Conn, *many)
	path := func(i int) string { return filepath.Join(dir, fmt.Sprintf("%d.db", i)) }
	openAll := func(params func(i int) string) {
		for i := range conns {
			conn, err := sqlite3.Open("file:" + path(i) + params(i))
			if err == nil {
				err = conn.Exec("PRAGMA journal_mode=wal; CREATE TABLE IF NOT EXISTS t (x); INSERT INTO t VALUES (1)")
			}
			if err != nil {
				b.Fatal(err)
			}
			conns[i] = conn
		}
	}
	closeAll := func() {
		for _, conn := range conns {
			if err := conn.Close(); err != nil {
				b.Fatal(err)
			}
		}
	}
	replicated := func(i int) string { return "?vfs=replicated&replica=" + stores[i].String() }
	openAll(func(int) string { return "" })
	closeAll()
	for b.Loop() {
		before := measure()
		openAll(func(int) string { return "" })
		plain := measure()
		closeAll()

		again := measure()
		began := time.Now()
		openAll(replicated)
		opened := time.Since(began)
		if err := vfs.Shutdown(b.Context()); err != nil {
			b.Fatal(err)
		}
		shipped := time.Since(began)
		asked := requests.Load()
		ours := measure()
		time.Sleep(2 * time.Second) // for the runtime's own work after a measurement
		spent := cpu()
		time.Sleep(10 * time.Second)
		spent = cpu() - spent
		goroutines := runtime.NumGoroutine()

		n := float64(*many)
		b.ReportMetric(float64(ours.heap-again.heap-(plain.heap-before.heap))/n/1024, "heap-KiB/db")
		b.ReportMetric(float64(ours.resident-again.resident-(plain.resident-before.resident))/n/1024, "resident-KiB/db")
		b.ReportMetric(float64(plain.resident-before.resident)/n/1024, "SQLite-KiB/db")
		b.ReportMetric(float64(ours.files-again.files-(plain.files-before.files))/n, "files/db")
		b.ReportMetric(float64(goroutines-before.goroutines), "goroutines")
		b.ReportMetric(float64(spent.Microseconds())/1000, "idle-cpu-ms/10s")
		b.ReportMetric(float64(requests.Load()-asked), "idle-requests/10s")
		b.ReportMetric(float64(most.Load()), "requests-at-once")
		b.ReportMetric(opened.Seconds(), "open-s")
		b.ReportMetric(shipped.Seconds(), "shipped-s")
		closeAll()
	}
}
