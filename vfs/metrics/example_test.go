package metrics_test

import (
	"database/sql"
	"fmt"
	"log"
	"os"

	_ "github.com/ncruces/go-sqlite3/driver"
	"github.com/prometheus/client_golang/prometheus"

	_ "github.com/walvfs/walvfs/shipper/storage/file"
	_ "github.com/walvfs/walvfs/vfs"
	"github.com/walvfs/walvfs/vfs/metrics"
)

func ExampleNewCollector() {
	dir, err := os.MkdirTemp("", "")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)

	registry := prometheus.NewRegistry()
	collector := metrics.NewCollector(metrics.Options{Aggregate: true})
	defer collector.Close()
	registry.MustRegister(collector)

	db, err := sql.Open("sqlite3", "file:"+dir+"/app.db?vfs=replicated&durability=sync&replica=file://"+dir+"/replica")
	if err != nil {
		log.Fatal(err)
	}
	if _, err := db.Exec("CREATE TABLE users (name)"); err != nil {
		log.Fatal(err)
	}
	if err := db.Close(); err != nil { // the last close waits until all events are counted
		log.Fatal(err)
	}

	families, err := registry.Gather() // promhttp.Handler does it for Prometheus
	if err != nil {
		log.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == "walvfs_commit_wait_seconds" {
			for _, m := range f.Metric {
				fmt.Println(m.Histogram.GetSampleCount(), m.Label[0].GetValue())
			}
		}
	}
	// Output:
	// 1 confirmed
	// 0 unconfirmed
}
