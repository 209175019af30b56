package restore_test

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ncruces/go-sqlite3"

	"github.com/walvfs/walvfs/format"
	"github.com/walvfs/walvfs/shipper/storage"
	"github.com/walvfs/walvfs/shipper/storage/storagetest"
)

// Levels and retention in seconds, so that files are compacted and go away.
const replicatedConfig = `
levels:
  - interval: 500ms
  - interval: 1s
snapshot:
  interval: 2s
  retention: 4s
l0-retention: 2s
l0-retention-check-interval: 200ms
dbs:
  - path: %s
    monitor-interval: 20ms
    replica:
      url: %s
      sync-interval: 20ms
`

// replicated is a database that is written to, and that Litestream replicates, until
// it is stopped.
type replicated struct {
	t       *testing.T
	replica *storagetest.Replica
	store   storage.Store
	cmd     *exec.Cmd
	log     bytes.Buffer
	done    atomic.Bool
	wg      sync.WaitGroup
}

// bankSchema is what a [copyReader] looks at.
var bankSchema = []string{
	"CREATE TABLE account (id INTEGER PRIMARY KEY, amount INT, pad BLOB); CREATE INDEX by_amount ON account (amount);" +
		"INSERT INTO account WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n LIMIT 100) SELECT i, 100, randomblob(300) FROM n",
	"CREATE TABLE version (n INT); INSERT INTO version VALUES (0)",
	schema,
}

// transfer is the i-th transaction of a bank.
func transfer(i int) []string {
	sql := []string{fmt.Sprintf("BEGIN; UPDATE account SET amount = amount - 7, pad = randomblob(300) WHERE id = 1 + %d %% 100;"+
		"UPDATE account SET amount = amount + 7 WHERE id = 1 + %d %% 100; UPDATE version SET n = n + 1; COMMIT", i*31, i*17+5)}
	switch i % 40 {
	case 10:
		sql = append(sql, manyRows(100))
	case 30:
		sql = append(sql, "DELETE FROM t", "VACUUM")
	}
	return sql
}

func newReplicated(t *testing.T, replica *storagetest.Replica) *replicated {
	t.Helper()
	l := &replicated{t: t, replica: replica, store: replica.Open(t)}
	path := filepath.Join(t.TempDir(), "live.db")
	conn, err := sqlite3.Open("file:" + path)
	if err == nil {
		err = conn.Exec("PRAGMA journal_mode=wal; PRAGMA busy_timeout=10000")
	}
	for _, sql := range bankSchema {
		if err == nil {
			err = conn.Exec(sql)
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	config := filepath.Join(t.TempDir(), "litestream.yml")
	if err := os.WriteFile(config, fmt.Appendf(nil, replicatedConfig, path, replica.URL), 0o600); err != nil {
		t.Fatal(err)
	}
	l.cmd = exec.CommandContext(t.Context(), storagetest.Litestream(t), "replicate", "-config", config)
	l.cmd.Stdout, l.cmd.Stderr = &l.log, &l.log
	l.cmd.Env = slices.Concat(os.Environ(), replica.Env, []string{"AWS_CA_BUNDLE="})
	l.cmd.WaitDelay = time.Second
	if err := l.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.done.Store(true); l.wg.Wait() })
	l.wg.Go(func() {
		defer conn.Close()
		for i := 0; !l.done.Load(); i++ {
			for _, sql := range transfer(i) {
				if err := conn.Exec(sql); err != nil {
					t.Errorf("%s: %v", sql, err)
					return
				}
			}
			time.Sleep(20 * time.Millisecond) // so that Litestream has many TXIDs
		}
	})
	return l
}

// untilGone waits until retention has removed the level 0 file of a TXID.
func (l *replicated) untilGone(txid format.TXID) {
	l.t.Helper()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(50 * time.Millisecond) {
		gone := true
		for _, f := range listed(l.t, l.store) {
			gone = gone && (f.Level != format.LevelRaw || f.MinTXID > txid)
		}
		if gone {
			return
		}
		if time.Now().After(deadline) {
			l.t.Fatalf("TXID %s stays in level 0", txid)
		}
	}
}

// stop ends writing, and lets Litestream upload what it has not.
func (l *replicated) stop() {
	l.t.Helper()
	l.done.Store(true)
	l.wg.Wait()
	if err := l.cmd.Process.Signal(os.Interrupt); err != nil {
		l.t.Fatal(err)
	}
	if err := l.cmd.Wait(); err != nil {
		l.t.Fatalf("litestream replicate: %v\n%s", err, &l.log)
	}
}

// requireLitestream compares a copy with what Litestream restores.
func (l *replicated) requireLitestream(path string) {
	l.t.Helper()
	theirs := filepath.Join(l.t.TempDir(), "theirs.db")
	cmd := exec.CommandContext(l.t.Context(), storagetest.Litestream(l.t), "restore", "-o", theirs, l.replica.URL)
	cmd.Env = l.cmd.Env
	if out, err := cmd.CombinedOutput(); err != nil {
		l.t.Fatalf("litestream restore: %v\n%s", err, out)
	}
	if !bytes.Equal(masked(l.t, path), masked(l.t, theirs)) {
		l.t.Error("the copy is not what Litestream restores")
	}
}

// reading is somebody who reads a copy all the time, and finds no fault with it.
type reading struct {
	t               *testing.T
	done            atomic.Bool
	wg              sync.WaitGroup
	reads, versions atomic.Int64
}

// newReading has two connections read: one that is opened each time, and one that
// stays, with its cache.
func newReading(t *testing.T, path string) *reading {
	r := &reading{t: t}
	t.Cleanup(r.stop)
	for i := range 2 {
		r.wg.Go(func() {
			c := &copyReader{path: path, keep: i > 0}
			defer c.close()
			for !r.done.Load() {
				fresh, err := c.read()
				if err != nil {
					t.Error(err)
					return
				}
				r.reads.Add(1)
				if fresh {
					r.versions.Add(1)
				}
			}
		})
	}
	return r
}

func (r *reading) stop() {
	r.done.Store(true)
	r.wg.Wait()
}

func (r *reading) String() string {
	return fmt.Sprintf("%d reads, %d of a new version", r.reads.Load(), r.versions.Load())
}
