package tests

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/ncruces/go-sqlite3"

	"github.com/walvfs/walvfs/shipper/restore"
	"github.com/walvfs/walvfs/shipper/storage/storagetest"
)

// The figures need -restore.size=1024 -restore.files=1000, and minutes.
var (
	pairSize    = flag.Int("restore.size", 32, "size of the `MiB` database in BenchmarkPaired")
	pairFiles   = flag.Int("restore.files", 50, "`number` of commits after its snapshot")
	pairReplica = flag.String("restore.replica", "", "an S3 replica's `URL` to restore in BenchmarkPaired instead of a new one; its server and credentials come from AWS's environment variables")
)

// BenchmarkPaired restores a replica from stock Litestream, with Litestream and with
// walvfs in turns, and compares the results. The ratio counts, not the times: the load of
// the machine affects both.
func BenchmarkPaired(b *testing.B) {
	replica := &storagetest.Replica{URL: *pairReplica, Endpoint: os.Getenv("AWS_ENDPOINT_URL_S3")}
	replica.Env = []string{"AWS_ENDPOINT_URL_S3=" + replica.Endpoint, "LITESTREAM_S3_ENDPOINT=" + replica.Endpoint}
	if *pairReplica == "" {
		replica = storagetest.S3(b)
		replicatePair(b, replica, *pairSize, *pairFiles)
	}
	b.Run("local", func(b *testing.B) { benchmarkPair(b, replica) })
	b.Run("30ms", func(b *testing.B) {
		far := replica.Toxiproxy(b)
		if err := far.Add(storagetest.Requests, 1, storagetest.Latency(30*time.Millisecond, 0)); err != nil {
			b.Fatal(err)
		}
		benchmarkPair(b, far.Replica)
	})
}

func benchmarkPair(b *testing.B, replica *storagetest.Replica) {
	bin := storagetest.Litestream(b)
	store := replica.Open(b)
	dir := b.TempDir()
	ours, theirs := filepath.Join(dir, "ours.db"), filepath.Join(dir, "theirs.db")
	litestream := func() time.Duration {
		cmd := exec.CommandContext(b.Context(), bin, "restore", "-o", theirs, replica.URL)
		cmd.Env = append(os.Environ(), replica.Env...)
		start := time.Now()
		if out, err := cmd.CombinedOutput(); err != nil {
			b.Fatalf("litestream restore: %v\n%s", err, out)
		}
		return time.Since(start)
	}
	walvfs := func() time.Duration {
		start := time.Now()
		if _, err := restore.Restore(b.Context(), store, ours, restore.Options{}); err != nil {
			b.Fatal(err)
		}
		return time.Since(start)
	}
	var a, w time.Duration
	for b.Loop() {
		removeAll(b, ours, theirs)
		quiet()
		la := litestream()
		quiet()
		lw := walvfs()
		b.Logf("litestream %s, walvfs %s: %.1f times as fast", la.Round(time.Millisecond), lw.Round(time.Millisecond), la.Seconds()/lw.Seconds())
		a, w = a+la, w+lw
		comparePair(b, ours, theirs)
	}
	b.ReportMetric(a.Seconds()/w.Seconds(), "times-as-fast")
	b.ReportMetric(w.Seconds()/float64(b.N), "walvfs-s")
	b.ReportMetric(a.Seconds()/float64(b.N), "litestream-s")
	b.ReportMetric(0, "ns/op")
}

func removeAll(b *testing.B, names ...string) {
	for _, name := range names {
		if err := os.RemoveAll(name); err != nil {
			b.Fatal(err)
		}
	}
}

func comparePair(b *testing.B, ours, theirs string) {
	if out, err := exec.CommandContext(b.Context(), "cmp", ours, theirs).CombinedOutput(); err != nil {
		b.Fatalf("the databases differ: %v\n%s", err, out)
	}
}

// replicatePair makes Litestream write a replica of a snapshot and then of files, one for
// each of several small commits.
func replicatePair(b *testing.B, replica *storagetest.Replica, size, files int) {
	dir := b.TempDir()
	path := filepath.Join(dir, "app.db")
	db := pairDatabase(b, path, size)
	defer db.Close()
	config := filepath.Join(dir, "litestream.yml")
	err := os.WriteFile(config, fmt.Appendf(nil, pairConfig, path, replica.URL), 0o600)
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(b.Context(), 20*time.Minute)
	defer cancel()
	var log bytes.Buffer
	cmd := exec.CommandContext(ctx, storagetest.Litestream(b), "replicate", "-config", config)
	cmd.Stdout, cmd.Stderr = &log, &log
	cmd.Env = append(os.Environ(), replica.Env...)
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	for i := 0; ; i++ {
		waitForFiles(b, ctx, path, i+1, &log)
		if i == files {
			break
		}
		const exec = `UPDATE t SET data = randomblob(400) || substr(data, 401) WHERE id IN (WITH r(i, id) AS (SELECT 1, abs(random()) % (SELECT max(id) FROM t) UNION ALL SELECT i+1, abs(random()) % (SELECT max(id) FROM t) FROM r LIMIT 10) SELECT id FROM r)`
		if err := db.Exec(exec); err != nil {
			b.Fatal(err)
		}
	}
	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		b.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		b.Fatalf("litestream replicate: %v\n%s", err, &log)
	}
}

// Litestream compacts and removes nothing during the benchmark.
const pairConfig = `
levels:
  - interval: 24h
snapshot:
  interval: 24h
l0-retention: 24h
dbs:
  - path: %s
    monitor-interval: 5ms
    replica:
      url: %s
      sync-interval: 5ms
`

// waitForFiles waits until Litestream has made n files. When it ends, it uploads the last
// files.
func waitForFiles(b *testing.B, ctx context.Context, path string, n int, log *bytes.Buffer) {
	local := filepath.Join(filepath.Dir(path), "."+filepath.Base(path)+"-litestream", "ltx", "0")
	for {
		entries, _ := os.ReadDir(local)
		if len(entries) >= n {
			return
		}
		if ctx.Err() != nil {
			b.Fatalf("litestream has made %d of %d files:\n%s", len(entries), n, log)
		}
		time.Sleep(2 * time.Millisecond)
	}
}

// pairDatabase makes a database of about that many MiB, half of them compressible.
func pairDatabase(b *testing.B, path string, size int) *sqlite3.Conn {
	db, err := sqlite3.Open("file:" + path + "?_pragma=busy_timeout(10000)")
	if err != nil {
		b.Fatal(err)
	}
	err = db.Exec(fmt.Sprintf(`
		PRAGMA synchronous = off;
		CREATE TABLE t (id INTEGER PRIMARY KEY, data BLOB);
		INSERT INTO t (data) WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n LIMIT %d)
			SELECT randomblob(400) || replace(hex(zeroblob(60)), '00', 'walvfs ') FROM n;
		PRAGMA journal_mode = wal;
		PRAGMA synchronous = normal;`, size<<20/850))
	if err != nil {
		b.Fatal(err)
	}
	return db
}
