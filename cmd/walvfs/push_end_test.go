//go:build unix

package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/url"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/ncruces/go-sqlite3"

	"github.com/walvfs/walvfs/shipper"
	"github.com/walvfs/walvfs/shipper/storage"
	"github.com/walvfs/walvfs/shipper/storage/storagetest"
)

// pushTo runs push to a store in memory, which calls a function before each operation.
func pushTo(t *testing.T, before func(ctx context.Context, op, key string) error, flags ...string) (output string, status int) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "app.db")
	db, err := sqlite3.Open("file:" + path)
	if err == nil {
		err = db.Exec("PRAGMA journal_mode=wal; CREATE TABLE t(x)")
	}
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	host := strings.ToLower(rand.Text())
	store := &storagetest.Memory{Name: host}
	store.SetBefore(before)
	pushStores.Store(host, store)
	return runCommand(append([]string{"push", path, "push://" + host}, flags...)...)
}

var pushStores sync.Map // by the host in URLs of the scheme push:

func init() {
	storage.Register("push", func(_ context.Context, u *url.URL, _ storage.Options) (storage.Store, error) {
		store, _ := pushStores.Load(u.Host)
		return store.(storage.Store), nil
	})
}

// interrupt is Ctrl-C, in the middle of a request.
func interrupt(ctx context.Context) error {
	if err := syscall.Kill(syscall.Getpid(), syscall.SIGINT); err != nil {
		return err
	}
	<-ctx.Done()
	return context.Cause(ctx)
}

// An interrupted push reports the state of the replica.
func TestPushInterrupted(t *testing.T) {
	out, status := pushTo(t, func(ctx context.Context, op, key string) error {
		if op == "create" && strings.HasSuffix(key, ".ltx") {
			return interrupt(ctx)
		}
		return nil
	})
	if want := "walvfs: interrupted; no upload was acknowledged; the replica is whole\n"; status != statusInterrupted || out != want {
		t.Errorf("status %d, %q, want %q", status, out, want)
	}
	some := shipper.Status{Uploads: 1, Tip: shipper.Position{TXID: 7}}
	if got := left(some); got != "TXID 0000000000000007 was uploaded, but not all that was committed; the replica is whole" {
		t.Error(got)
	}
}

// A timeout is reported once, with the errors until then.
func TestPushTimeout(t *testing.T) {
	out, status := pushTo(t, func(context.Context, string, string) error { return errors.New("no route") }, "--timeout", "1s")
	if status != statusFailed || strings.Count(out, "is over") != 1 || strings.Contains(out, "level=ERROR") ||
		strings.Count(out, "level=WARN") != 1 || !strings.Contains(out, "\n        ") {
		t.Errorf("status %d, %s", status, out)
	}
}

// push does not wait an hour for a disk that cannot be written.
func TestPushReadOnly(t *testing.T) {
	err := (&replicateArgs{DB: "app.db"}).explain(fmt.Errorf("cut: %w", sqlite3.READONLY))
	if _, hint := remedy(err); !hopeless(err) || !strings.Contains(hint, "must be able to write to the database") {
		t.Errorf("%v; %s", err, hint)
	}
}

// push does not wait for an error that only an operator can fix, and reports it once.
func TestPushRefused(t *testing.T) {
	for _, refused := range []error{storage.ErrPermission, storage.ErrNoBucket, storage.ErrRefused} {
		t.Run(strings.ReplaceAll(refused.Error(), " ", ""), func(t *testing.T) {
			out, status := pushTo(t, func(context.Context, string, string) error { return refused })
			if status != statusFailed || strings.Count(out, refused.Error()) != 1 || !strings.HasPrefix(out, "walvfs: ") {
				t.Errorf("status %d, %s", status, out)
			}
		})
	}
}

// A store without put-if-absent accepts a push with fencing off.
func TestPushUnfenced(t *testing.T) {
	before := func(_ context.Context, op, key string) error {
		if op == "create" && strings.HasPrefix(key, storage.ProbePrefix) {
			return storage.ErrNoCondition
		}
		return nil
	}
	if out, status := pushTo(t, before); status != statusFailed || !strings.Contains(out, "fencing=off") {
		t.Errorf("status %d, %s", status, out)
	}
	if out, status := pushTo(t, before, "--fencing=off"); status != 0 {
		t.Errorf("status %d, %s", status, out)
	}
}
