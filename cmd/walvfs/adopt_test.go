package main

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ncruces/go-sqlite3"

	"github.com/walvfs/walvfs/shipper/storage/storagetest"
)

// Moving from Litestream takes one command: the database that Litestream replicated
// continues in the same replica, which Litestream can still restore.
func TestAdoptFromLitestream(t *testing.T) {
	dir := t.TempDir()
	live, replica := filepath.Join(dir, "live.db"), filepath.Join(dir, "replica")
	db, err := sqlite3.Open("file:" + live + "?_pragma=busy_timeout(10000)&_pragma=journal_mode(wal)")
	if err != nil {
		t.Fatal(err)
	}
	if err := db.Exec("CREATE TABLE t (x); INSERT INTO t VALUES ('by Litestream')"); err != nil {
		t.Fatal(err)
	}
	litestream := storagetest.Litestream(t)
	run := func(args ...string) *exec.Cmd {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		t.Cleanup(cancel)
		cmd := exec.CommandContext(ctx, litestream, args...)
		cmd.WaitDelay = time.Second
		return cmd
	}
	var log bytes.Buffer
	cmd := run("replicate", live, "file://"+replica)
	cmd.Stdout, cmd.Stderr = &log, &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var uploaded []string // files of one TXID each
	for deadline := time.Now().Add(time.Minute); len(uploaded) < 2; time.Sleep(50 * time.Millisecond) {
		if err := db.Exec("INSERT INTO t VALUES ('more')"); err != nil {
			t.Fatal(err)
		}
		if uploaded, err = filepath.Glob(filepath.Join(replica, "ltx", "0", "*.ltx")); err != nil || time.Now().After(deadline) {
			t.Fatalf("%d files, %v\n%s", len(uploaded), err, &log)
		}
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	cmd.Process.Signal(os.Interrupt)
	if err := cmd.Wait(); err != nil {
		t.Fatalf("litestream replicate: %v\n%s", err, &log)
	}

	if out, status := runCommand("push", live, "file://"+replica); status == statusOK || !strings.Contains(out, "walvfs adopt") {
		t.Errorf("push: status %d, %s", status, out)
	}
	if out, status := runCommand("adopt", live, "file://"+replica); status != statusOK {
		t.Fatalf("adopt: status %d, %s\n%s", status, out, &log)
	}
	db, err = sqlite3.Open("file:" + live)
	if err != nil {
		t.Fatal(err)
	}
	if err := db.Exec("INSERT INTO t VALUES ('by walvfs')"); err != nil {
		t.Fatal(err)
	}
	db.Close()
	if out, status := runCommand("push", live, "file://"+replica); status != statusOK {
		t.Fatalf("push: status %d, %s", status, out)
	}
	if out, status := runCommand("verify", "file://"+replica); status != statusOK {
		t.Errorf("verify: status %d, %s", status, out)
	}
	restored := filepath.Join(dir, "restored.db")
	if out, err := run("restore", "-o", restored, "file://"+replica).CombinedOutput(); err != nil {
		t.Fatalf("litestream restore: %v\n%s", err, out)
	}
	a, err := os.ReadFile(live)
	b, berr := os.ReadFile(restored)
	if err != nil || berr != nil || !bytes.Equal(a, b) {
		t.Errorf("what Litestream restores is not the database: %d and %d bytes, %v %v", len(a), len(b), err, berr)
	}
}
