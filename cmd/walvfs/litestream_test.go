package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ncruces/go-sqlite3"

	"github.com/walvfs/walvfs/shipper/storage/storagetest"
	"github.com/walvfs/walvfs/shipper/verify"
)

// Levels and retention of seconds, so that the replica has all kinds of files, and level
// 0 without its oldest files.
const litestreamConfig = `
access-key-id: %s
secret-access-key: ${WALVFS_TEST_SECRET}
levels:
  - interval: 1s
  - interval: 2s
snapshot:
  interval: 2s
  retention: 1h
l0-retention: 2s
l0-retention-check-interval: 200ms
dbs:
  - path: %s
    monitor-interval: 20ms
    replicas:
      - url: %s
        endpoint: %s
        region: us-east-1
        force-path-style: true
        sync-interval: 20ms
`

// A replica that Litestream wrote, compacted and pruned is correct at all levels, and
// walvfs reads its configuration file.
func TestLitestreamReplica(t *testing.T) {
	replica := storagetest.S3(t)
	t.Setenv("WALVFS_TEST_SECRET", replica.Options.SecretAccessKey)
	dir := t.TempDir()
	live := filepath.Join(dir, "live.db")
	config := filepath.Join(dir, "litestream.yml")
	text := fmt.Sprintf(litestreamConfig, replica.Options.AccessKeyID, live, replica.URL, replica.Endpoint)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	runLitestream(t, config, live)
	// Only the file has the credentials and the endpoint.
	for _, name := range []string{"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_ENDPOINT_URL_S3", "AWS_REGION", "AWS_CA_BUNDLE"} {
		t.Setenv(name, "")
	}

	out, status := runCommand("verify", "--json", "--quiet", "-config", config, live)
	var v verify.Result
	if err := json.Unmarshal([]byte(out), &v); err != nil || status != statusOK || !v.OK {
		t.Fatalf("verify: status %d, %v, %s", status, err, out)
	}
	out, status = runCommand("info", "--json", "-config", config, live)
	var i info
	if err := json.Unmarshal([]byte(out), &i); err != nil || status != statusOK {
		t.Fatalf("info: status %d, %v, %s", status, err, out)
	}
	levels := map[int]levelInfo{}
	for _, l := range i.Levels {
		levels[l.Level] = l
	}
	if levels[0].MinTXID < 2 || levels[1].Files < 3 || levels[2].Files < 1 || levels[9].Files < 2 {
		t.Errorf("the replica has too little to verify: %+v", i.Levels)
	}
	t.Logf("levels: %+v", i.Levels)
	if out, status = runCommand("drill", "-config", config, "-live", live, "-wait", "0s", live); status != statusOK || !strings.Contains(out, "page for page") {
		t.Errorf("drill: status %d, %s", status, out)
	}
	if out, status = runCommand("ls", "-config", config, replica.URL); status != statusOK {
		t.Errorf("ls of the URL: status %d, %s", status, out)
	}
	other := filepath.Join(dir, "other.db")
	if out, status = runCommand("restore", "-config", config, "-o", other, live); status != statusOK {
		t.Errorf("restore: status %d, %s", status, out)
	}
}

// runLitestream replicates a database for some seconds, while it is written.
func runLitestream(t *testing.T, config, live string) {
	t.Helper()
	db, err := sqlite3.Open("file:" + live + "?_pragma=busy_timeout(10000)")
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if err := db.Exec(`PRAGMA journal_mode = wal; CREATE TABLE t (id INTEGER PRIMARY KEY, data BLOB)`); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var log bytes.Buffer
	cmd := exec.CommandContext(ctx, storagetest.Litestream(t), "replicate", "-config", config)
	cmd.Stdout, cmd.Stderr = &log, &log
	cmd.Env = append(os.Environ(), "AWS_CA_BUNDLE=")
	cmd.WaitDelay = time.Second
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	for i, start := 0, time.Now(); time.Since(start) < 6*time.Second; i++ {
		sql := fmt.Sprintf(`INSERT INTO t (data) WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n LIMIT %d) SELECT randomblob(%d) FROM n`, 1+i%17, i%9*300)
		switch i % 10 {
		case 4, 6:
			sql = fmt.Sprintf(`UPDATE t SET data = randomblob(%d) WHERE id %% 50 = %d`, i%7*900, i%50)
		case 8:
			sql = fmt.Sprintf(`DELETE FROM t WHERE id %% 4 = %d`, i%4)
		case 9:
			sql = `VACUUM`
		}
		if err := db.Exec(sql); err != nil {
			t.Fatal(err)
		}
		time.Sleep(30 * time.Millisecond) // for many TXIDs
	}
	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Fatalf("litestream replicate: %v\n%s", err, &log)
	}
}

// A replica that walvfs wrote is correct, and equals its database.
func TestVerifyDemo(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	out, status := runCommand("demo", "--keep")
	if status != statusOK {
		t.Fatalf("demo: status %d, %s", status, out)
	}
	dirs, err := filepath.Glob(filepath.Join(os.Getenv("TMPDIR"), "walvfs-demo-*"))
	if err != nil || len(dirs) != 1 {
		t.Fatalf("directories %v, %v", dirs, err)
	}
	url := "file://" + filepath.ToSlash(filepath.Join(dirs[0], "replica"))
	if out, status := runCommand("verify", url); status != statusOK {
		t.Errorf("verify: status %d, %s", status, out)
	}
	if out, status := runCommand("drill", "--live", filepath.Join(dirs[0], "app.db"), url); status != statusOK || !strings.Contains(out, "page for page") {
		t.Errorf("drill: status %d, %s", status, out)
	}
}
