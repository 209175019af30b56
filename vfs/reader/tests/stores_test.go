// Package tests reads replicas in real stores, written by walvfs and by Litestream.
package tests

import (
	"bytes"
	"context"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/walvfs/walvfs/format"
	"github.com/walvfs/walvfs/shipper/replica"
	"github.com/walvfs/walvfs/shipper/storage"
	_ "github.com/walvfs/walvfs/shipper/storage/file"
	_ "github.com/walvfs/walvfs/shipper/storage/gcs"
	_ "github.com/walvfs/walvfs/shipper/storage/s3"
	"github.com/walvfs/walvfs/shipper/storage/storagetest"
	"github.com/walvfs/walvfs/vfs/internal/dbtest"
	_ "github.com/walvfs/walvfs/vfs/reader"
	"github.com/walvfs/walvfs/vfs/reader/internal/readertest"
)

func open(r *storagetest.Replica, params string) string {
	return "file:copy.db?vfs=replica&interval=0s&replica=" + url.QueryEscape(r.URL) + params
}

// A reader opens replicas of walvfs in every kind of store, at each TXID.
func TestStores(t *testing.T) {
	for name, make := range map[string]func(testing.TB) *storagetest.Replica{"file": storagetest.File, "s3": storagetest.S3, "gcs": storagetest.GCS} {
		t.Run(name, func(t *testing.T) {
			r := make(t)
			r.Setenv(t)
			path := filepath.Join(t.TempDir(), "app.db")
			w := dbtest.Open(t, dbtest.URI(path, dbtest.ReplicaURL(r.URL)))
			dbtest.Exec(t, w, dbtest.BankSchema...)
			dbtest.Settled(t, path)
			conn := dbtest.Open(t, open(r, ""))
			store := r.Open(t)
			for i := range 5 {
				dbtest.Exec(t, w, "INSERT INTO pad SELECT NULL, randomblob(400) FROM generate_series(1, 300)", "UPDATE account SET balance = balance + 1 WHERE id = 1")
				dbtest.Settled(t, path)
				if got, want := dbtest.Query(t, conn, "SELECT count(*) FROM pad"), fmt.Sprint(300*(i+1)); got != want {
					t.Errorf("%s rows, not %s", got, want)
				}
			}
			w.Close()
			requireEveryTXID(t, r, store, 5)
			requireDiffs(t, r, store, "pad")
		})
	}
}

// A writer and a reader find a replica and its credentials in one configuration file.
func TestConfiguredCredentials(t *testing.T) {
	r := storagetest.S3(t)
	path := filepath.Join(t.TempDir(), "app.db")
	file := filepath.Join(t.TempDir(), "walvfs.yml")
	text := fmt.Sprintf("dbs:\n- path: %s\n  replica:\n    url: %s\n    endpoint: %s\n    force-path-style: true\n    region: %s\n    access-key-id: %s\n    secret-access-key: %s\n",
		path, r.URL, r.Endpoint, r.Options.Region, r.Options.AccessKeyID, r.Options.SecretAccessKey)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("WALVFS_REPLICA", "")
	t.Setenv("WALVFS_CONFIG", file)
	w := dbtest.Open(t, "file:"+path+"?vfs=replicated&interval=0s")
	dbtest.Exec(t, w, dbtest.BankSchema...)
	dbtest.Settled(t, path)
	w.Close()
	conn := dbtest.Open(t, "file:"+path+"?vfs=replica")
	readertest.RequireRestored(t, conn, r.Open(t), 0)
}

// requireEveryTXID compares the restorable TXIDs of a replica, at most as many as given.
func requireEveryTXID(t *testing.T, r *storagetest.Replica, store storage.Store, most int) {
	t.Helper()
	files, err := replica.All(t.Context(), store)
	if err != nil {
		t.Fatal(err)
	}
	points := files.Restorable()
	levels := map[int]int{}
	for _, f := range files {
		levels[f.Level]++
	}
	t.Logf("files by level: %v, %d TXIDs", levels, len(points))
	for i := 0; i < len(points); i += 1 + len(points)/most {
		requireTXID(t, r, store, points[i])
	}
	requireTXID(t, r, store, points[len(points)-1])
}

func requireTXID(t *testing.T, r *storagetest.Replica, store storage.Store, txid format.TXID) {
	t.Helper()
	conn := dbtest.Open(t, open(r, "&txid="+txid.String()))
	defer conn.Close()
	readertest.RequireRestored(t, conn, store, txid)
	if got := dbtest.Query(t, conn, "PRAGMA integrity_check"); got != "ok" {
		t.Errorf("TXID %s: integrity_check: %s", txid, got)
	}
}

// Levels of fractions of a second, so that the replica has all kinds of files.
const litestreamConfig = `
levels:
  - interval: 300ms
  - interval: 600ms
snapshot:
  interval: 1s
  retention: 1h
dbs:
  - path: %s
    monitor-interval: 10ms
    replica:
      url: %s
      sync-interval: 10ms
`

// A replica that Litestream writes can be read while it grows, and at each TXID.
func TestLitestream(t *testing.T) {
	r := storagetest.File(t)
	store := r.Open(t)
	path := filepath.Join(t.TempDir(), "app.db")
	db := dbtest.Open(t, "file:"+path+"?_pragma=busy_timeout(10000)")
	dbtest.Exec(t, db, "PRAGMA journal_mode=wal", "CREATE TABLE t (id INTEGER PRIMARY KEY, data BLOB)")
	config := filepath.Join(t.TempDir(), "litestream.yml")
	if err := os.WriteFile(config, fmt.Appendf(nil, litestreamConfig, path, r.URL), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var log bytes.Buffer
	cmd := exec.CommandContext(ctx, storagetest.Litestream(t), "replicate", "-config", config)
	cmd.Stdout, cmd.Stderr = &log, &log
	cmd.Env = append(os.Environ(), r.Env...)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	levels := func() map[int]int {
		files, err := replica.All(t.Context(), store)
		if err != nil {
			t.Fatal(err)
		}
		n := map[int]int{}
		for _, f := range files {
			n[f.Level]++
		}
		return n
	}
	dbtest.Eventually(t, "Litestream has begun", func() bool { return len(levels()) > 0 })
	conn := dbtest.Open(t, open(r, ""))
	dbtest.Eventually(t, "there are files of all kinds", func() bool {
		dbtest.Exec(t, db, "INSERT INTO t SELECT NULL, randomblob(300) FROM generate_series(1, 50)", "DELETE FROM t WHERE id % 7 = 1")
		if got := dbtest.Query(t, conn, "PRAGMA quick_check"); got != "ok" {
			t.Fatalf("quick_check: %s", got)
		}
		n := levels()
		return n[0] > 10 && n[1] > 1 && n[2] > 0 && n[9] > 1
	})
	want := dbtest.Query(t, db, "SELECT count(*) || ' ' || sum(id) FROM t")
	dbtest.Eventually(t, "a reader sees the newest rows", func() bool {
		return dbtest.Query(t, conn, "SELECT count(*) || ' ' || sum(id) FROM t") == want
	})
	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Fatalf("litestream replicate: %v\n%s", err, &log)
	}
	requireEveryTXID(t, r, store, 15)
	requireDiffs(t, r, store, "t")
}
