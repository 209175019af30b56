package tests

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
	"github.com/walvfs/walvfs/shipper/restore/internal/followtest"
	"github.com/walvfs/walvfs/shipper/storage"
	"github.com/walvfs/walvfs/shipper/storage/storagetest"
)

// Levels and retention take seconds, so that files are compacted and removed.
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

// replicated is a database with continuous writes that Litestream replicates, until stop.
type replicated struct {
	t       *testing.T
	replica *storagetest.Replica
	store   storage.Store
	cmd     *exec.Cmd
	log     bytes.Buffer
	done    atomic.Bool
	wg      sync.WaitGroup
}

func newReplicated(t *testing.T, replica *storagetest.Replica) *replicated {
	t.Helper()
	l := &replicated{t: t, replica: replica, store: replica.Open(t)}
	path := filepath.Join(t.TempDir(), "live.db")
	conn, err := sqlite3.Open("file:" + path)
	if err == nil {
		err = conn.Exec("PRAGMA journal_mode=wal; PRAGMA busy_timeout=10000")
	}
	for _, sql := range followtest.BankSchema {
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
			for _, sql := range followtest.Transfer(i) {
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
		for _, f := range followtest.Listed(l.t, l.store) {
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

// stop ends writing, and lets Litestream upload the rest.
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

// requireLitestream compares a copy with Litestream's restore.
func (l *replicated) requireLitestream(path string) {
	l.t.Helper()
	theirs := filepath.Join(l.t.TempDir(), "theirs.db")
	cmd := exec.CommandContext(l.t.Context(), storagetest.Litestream(l.t), "restore", "-o", theirs, l.replica.URL)
	cmd.Env = l.cmd.Env
	if out, err := cmd.CombinedOutput(); err != nil {
		l.t.Fatalf("litestream restore: %v\n%s", err, out)
	}
	if !bytes.Equal(followtest.Masked(l.t, path), followtest.Masked(l.t, theirs)) {
		l.t.Error("the copy is not what Litestream restores")
	}
}
