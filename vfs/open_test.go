package vfs_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ncruces/go-sqlite3"

	"github.com/walvfs/walvfs/internal/statefile"
	"github.com/walvfs/walvfs/shipper"
	"github.com/walvfs/walvfs/shipper/restore"
	"github.com/walvfs/walvfs/vfs"
)

// openError returns the text of the error with which an open fails, with its cause.
func openError(t *testing.T, uri string) string {
	t.Helper()
	conn, err := sqlite3.Open(uri)
	if err == nil {
		conn.Close()
		t.Fatalf("%s opened", uri)
	}
	if !errors.Is(err, sqlite3.CANTOPEN) {
		t.Errorf("%v is not CANTOPEN", err)
	}
	text := err.Error()
	for ; err != nil; err = errors.Unwrap(err) {
		text += " / " + err.Error()
	}
	return text
}

func TestOpenErrors(t *testing.T) {
	t.Setenv("WALVFS_REPLICA", "")
	dir := t.TempDir()
	path := filepath.Join(dir, "app.db")
	for name, test := range map[string]struct{ params, want string }{
		"no replica":       {"", "add &replica=URL"},
		"no driver":        {"&replica=nfs://server/x", "unknown scheme nfs://"},
		"not a URL":        {"&replica=backup", "cannot be parsed"},
		"secret in URL":    {"&replica=s3:%2F%2Fuser:hunter2%20@/%25zz", "cannot be parsed"},
		"bad interval":     {"&replica=memory://x&interval=5", "interval=5: expected a duration"},
		"negative":         {"&replica=memory://x&close_timeout=-1s", "close_timeout=-1s: expected a duration"},
		"bad choice":       {"&replica=memory://x&diverged=maybe", "expected halt or overwrite"},
		"the driver's own": {"&replica=memory://none", "no memory store none"},
	} {
		t.Run(name, func(t *testing.T) {
			got := openError(t, "file:"+path+"?vfs=replicated"+test.params)
			if !strings.Contains(got, test.want) {
				t.Errorf("%q lacks %q", got, test.want)
			}
			if strings.Contains(got, "hunter2") {
				t.Errorf("%q has a secret", got)
			}
		})
	}
}

func TestReplicaFromEnvironment(t *testing.T) {
	store := newReplica(t)
	dir := t.TempDir()
	name := store.Name
	store.Name += "/app.db"
	t.Setenv("WALVFS_REPLICA", "memory://"+name+"/")
	conn := open(t, "file:"+filepath.Join(dir, "app.db")+"?vfs=replicated")
	exec(t, conn, "CREATE TABLE t (x)")
	conn.Close()
	requireEqual(t, store, filepath.Join(dir, "app.db"))
}

func TestReplicaFromOptions(t *testing.T) {
	store := newReplica(t)
	path := filepath.Join(t.TempDir(), "app.db")
	var mu sync.Mutex
	var shipped []shipper.Uploaded
	vfs.Register("replicated-options", vfs.Options{
		Replicas: map[string]string{path: store.String()},
		Interval: vfs.Off,
		Events: func(at string, e shipper.Event) {
			mu.Lock()
			defer mu.Unlock()
			if s, ok := e.(shipper.Uploaded); ok && at == path {
				shipped = append(shipped, s)
			}
		},
	})
	conn := open(t, "file:"+path+"?vfs=replicated-options")
	exec(t, conn, "CREATE TABLE t (x)")
	conn.Close()
	requireEqual(t, store, path)
	if mu.Lock(); len(shipped) == 0 || shipped[0].MaxTXID != 1 || shipped[0].Pages == 0 {
		t.Errorf("shipped: %+v", shipped)
	}
	mu.Unlock()
}

// A file has one name, and a replica has one database.
func TestOneNameOneReplica(t *testing.T) {
	store, other := newReplica(t), newReplica(t)
	dir := t.TempDir()
	path, link, second := filepath.Join(dir, "app.db"), filepath.Join(dir, "link.db"), filepath.Join(dir, "second.db")
	conn := open(t, uri(path, store))
	exec(t, conn, "CREATE TABLE t (x)")
	if err := os.Link(path, link); err != nil {
		t.Fatal(err)
	}
	if got := openError(t, uri(link, other)); !strings.Contains(got, "already open as") {
		t.Error(got)
	}
	if got := openError(t, uri(path, other)); !strings.Contains(got, "already open with another replica") {
		t.Error(got)
	}
	if got := openError(t, uri(second, store)); !strings.Contains(got, "already the replica of") {
		t.Error(got)
	}
	os.Remove(link)
	if err := os.Rename(path, path+".old"); err != nil {
		t.Fatal(err)
	}
	if got := openError(t, uri(path, store)); !strings.Contains(got, "was replaced while it is open") {
		t.Error(got)
	}
}

// The last close waits for the replica up to close_timeout, and then logs that it gave
// up.
func TestCloseTimeout(t *testing.T) {
	var log bytes.Buffer
	writer := &syncWriter{W: &log}
	vfs.Register("replicated-close", vfs.Options{Logger: slog.New(slog.NewTextHandler(writer, nil))})
	store := newReplica(t)
	path := filepath.Join(t.TempDir(), "app.db")
	conn := open(t, strings.Replace(uri(path, store, "close_timeout=100ms"), "vfs=replicated&", "vfs=replicated-close&", 1))
	exec(t, conn, "CREATE TABLE t (x)")
	settled(t, path)
	store.SetBefore(func(ctx context.Context, _, _ string) error {
		<-ctx.Done()
		return ctx.Err()
	})
	exec(t, conn, "INSERT INTO t VALUES (1)")
	start := time.Now()
	if err := conn.Close(); err != nil {
		t.Error(err)
	}
	if took := time.Since(start); took < 100*time.Millisecond || took > 5*time.Second {
		t.Errorf("the close took %s", took)
	}
	for _, want := range []string{"level=ERROR", "closed before the replica had every commit", "close_timeout=100ms is over", "tip=0000000000000001"} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("the log lacks %q:\n%s", want, log.String())
		}
	}
	if _, err := os.Stat(path + "-wal"); err == nil {
		t.Error("the -wal is left")
	}

	store.SetBefore(nil)
	conn = open(t, uri(path, store))
	conn.Close()
	requireEqual(t, store, path)
}

// A close that need not wait logs no error, whatever its timeout.
func TestCloseAfterDrain(t *testing.T) {
	var log bytes.Buffer
	vfs.Register("replicated-drained", vfs.Options{Logger: slog.New(slog.NewTextHandler(&syncWriter{W: &log}, nil))})
	store := newReplica(t)
	path := filepath.Join(t.TempDir(), "app.db")
	for range 5 { // such short runs compact at their fourth TXID
		conn := open(t, strings.Replace(uri(path, store, "close_timeout=0s"), "vfs=replicated&", "vfs=replicated-drained&", 1))
		exec(t, conn, "CREATE TABLE IF NOT EXISTS t (x)", "INSERT INTO t VALUES (1)")
		settled(t, path)
		conn.Close()
	}
	if log.Len() > 0 {
		t.Errorf("the log has:\n%s", log.String())
	}
	requireEqual(t, store, path)
}

// A copy of the database halts, and the replica stays unchanged.
func TestUnknownReplica(t *testing.T) {
	store := newReplica(t)
	dir := t.TempDir()
	path, copied := filepath.Join(dir, "app.db"), filepath.Join(dir, "copy.db")
	conn := open(t, uri(path, store))
	exec(t, conn, "CREATE TABLE t (x)")
	conn.Close()
	for _, suffix := range []string{"", statefile.Suffix} {
		b, err := os.ReadFile(path + suffix)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(copied+suffix, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	tip := lastTXID(t, store)
	conn = open(t, uri(copied, store))
	exec(t, conn, "INSERT INTO t VALUES (1)")
	if err := flush(t.Context(), copied); !errors.Is(err, shipper.ErrDiverged) {
		t.Error(err)
	}
	conn.Close()
	if got := lastTXID(t, store); got != tip {
		t.Errorf("the replica went from %s to %s", tip, got)
	}
	conn = open(t, uri(copied, store, "diverged=overwrite"))
	settled(t, copied)
	conn.Close()
	requireEqual(t, store, copied)
}

// A database restored in its newest state continues the same replica; the machine that
// lost it is fenced, if it still runs. An older state does not continue it: it would
// discard later commits.
func TestRestoredGoesOn(t *testing.T) {
	store := newReplica(t)
	dir := t.TempDir()
	path, second, third := filepath.Join(dir, "app.db"), filepath.Join(dir, "second.db"), filepath.Join(dir, "third.db")
	first := open(t, uri(path, store))
	exec(t, first, "CREATE TABLE t (x)", "INSERT INTO t VALUES (1)")
	settled(t, path)
	machine := newAlias(t, store)
	if _, err := restore.Restore(t.Context(), machine, second, restore.Options{}); err != nil {
		t.Fatal(err)
	}
	conn := open(t, uri(second, machine))
	exec(t, conn, "INSERT INTO t VALUES (2)")
	settled(t, second)
	exec(t, first, "INSERT INTO t VALUES (3)")
	if err := flush(t.Context(), path); !errors.Is(err, shipper.ErrFenced) {
		t.Errorf("the first machine got %v", err)
	}
	exec(t, first, "INSERT INTO t VALUES (4)") // its application continues
	exec(t, conn, "INSERT INTO t VALUES (5)")
	conn.Close()
	requireEqual(t, store, second)
	first.Close()
	requireEqual(t, store, second)

	if _, err := restore.Restore(t.Context(), store, third, restore.Options{TXID: 1}); err != nil {
		t.Fatal(err)
	}
	conn = open(t, uri(third, store))
	exec(t, conn, "CREATE TABLE u (x)")
	if err := flush(t.Context(), third); !errors.Is(err, shipper.ErrDiverged) {
		t.Errorf("an older state got %v", err)
	}
}
