package tests

import (
	"bytes"
	"context"
	"os"
	osexec "os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/walvfs/walvfs/format"
	"github.com/walvfs/walvfs/shipper/restore"
	"github.com/walvfs/walvfs/shipper/storage"
	_ "github.com/walvfs/walvfs/shipper/storage/file"
	_ "github.com/walvfs/walvfs/shipper/storage/gcs"
	_ "github.com/walvfs/walvfs/shipper/storage/s3"
	"github.com/walvfs/walvfs/shipper/storage/storagetest"
)

// litestream is the stock program and one replica.
type litestream struct {
	path    string
	replica *storagetest.Replica
}

func newLitestream(t *testing.T, replica *storagetest.Replica) *litestream {
	t.Helper()
	return &litestream{storagetest.Litestream(t), replica}
}

func (l *litestream) command(ctx context.Context, args ...string) *osexec.Cmd {
	cmd := osexec.CommandContext(ctx, l.path, args...)
	cmd.Env = slices.Concat(os.Environ(), l.replica.Env)
	cmd.WaitDelay = time.Second
	return cmd
}

func (l *litestream) run(t *testing.T, args ...string) string {
	t.Helper()
	out, err := l.command(t.Context(), args...).CombinedOutput()
	if err != nil {
		t.Fatalf("litestream %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

// replicate runs Litestream until stop is called, which returns its log.
func (l *litestream) replicate(t *testing.T, config string) (stop func() string) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(cancel)
	var log bytes.Buffer
	cmd := l.command(ctx, "replicate", "-config", config)
	cmd.Stdout, cmd.Stderr = &log, &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return func() string {
		t.Helper()
		cmd.Process.Signal(os.Interrupt)
		defer time.AfterFunc(10*time.Second, cancel).Stop() // it may hang
		if err := cmd.Wait(); err != nil {
			t.Errorf("litestream replicate: %v\n%s", err, &log)
		}
		return log.String()
	}
}

// restoreBoth restores a TXID, 0 for the newest, with both programs and fails unless they
// agree. It returns the path of the restored database.
func (l *litestream) restoreBoth(t *testing.T, store storage.Store, txid format.TXID) string {
	t.Helper()
	dir := t.TempDir()
	ours, theirs := filepath.Join(dir, "ours.db"), filepath.Join(dir, "theirs.db")
	if _, err := restore.Restore(t.Context(), store, ours, restore.Options{TXID: txid}); err != nil {
		t.Fatalf("TXID %s: %v", txid, err)
	}
	args := []string{"restore", "-o", theirs}
	if txid != 0 {
		args = append(args, "-txid", txid.String())
	}
	l.run(t, append(args, l.replica.URL)...)
	if !bytes.Equal(readFile(t, ours), readFile(t, theirs)) {
		t.Fatalf("TXID %s: Litestream restores other bytes than we do", txid)
	}
	return ours
}

// requireSame is restoreBoth for a bank. It returns the number of the bank's newest
// commit.
func (l *litestream) requireSame(t *testing.T, store storage.Store, txid format.TXID) (commits int) {
	t.Helper()
	conn := open(t, "file:"+l.restoreBoth(t, store, txid))
	defer conn.Close()
	return requireBank(t, conn, "TXID "+txid.String())
}
