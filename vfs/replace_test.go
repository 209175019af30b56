package vfs_test

import (
	"context"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// unproven crashes, and another program makes a checkpoint, so that only a comparison
// proves that the database is behind the rival.
func unproven(r *run) {
	r.T.Helper()
	save(r.T, r.Path).Crash(r.T, r.Store, r.Path, r.Conn)
	plain := open(r.T, "file:"+r.Path)
	exec(r.T, plain, "PRAGMA wal_checkpoint(TRUNCATE)")
	plain.Close()
	rival(r)
}

// An open replaces a database also if its modification time is in the future, as after
// the clock was set back.
func TestReplaceWithFutureTime(t *testing.T) {
	r := newRun(t)
	unproven(r)
	future := time.Now().Add(time.Hour)
	if err := os.Chtimes(r.Path, future, future); err != nil {
		t.Fatal(err)
	}
	r.Conn = open(t, uri(r.Path, r.Store, "restore=if-behind"))
	if got := query(t, r.Conn, "SELECT x FROM t ORDER BY rowid DESC"); got != "rival" {
		t.Errorf("the newest row is %s", got)
	}
}

// On a file system that keeps times in seconds, a commit in the same second as the
// inspection of the database, after the comparison has read it, is not lost.
func TestReplaceOnCoarseClock(t *testing.T) {
	r := newRun(t)
	unproven(r)
	store := &duringDownload{alias: newAlias(t, r.Store)}
	memories.Store(strings.TrimPrefix(store.URL, "memory://"), store)
	// The state file names the replica by its URL.
	store.alias.URL = r.Store.String()
	memories.Store(strings.TrimPrefix(r.Store.String(), "memory://"), store)
	touch := func() {
		now := time.Now().Truncate(2 * time.Second)
		if err := os.Chtimes(r.Path, now, now); err != nil {
			t.Error(err)
		}
	}
	store.do = func() {
		plain := open(t, "file:"+r.Path)
		exec(t, plain, "UPDATE t SET x = 'by a cron job' WHERE rowid = 1")
		plain.Close()
		touch()
	}
	time.Sleep(time.Until(time.Now().Truncate(2 * time.Second).Add(2 * time.Second))) // a second begins
	touch()
	conn := open(t, uri(r.Path, store, "restore=if-behind", "close_timeout=1ms"))
	if got := query(t, conn, "SELECT x FROM t WHERE rowid = 1"); got != "by a cron job" {
		t.Error("a commit was lost")
	}
}

// While another program has the database open, no request or download is repeated.
func TestReplaceAsksOnce(t *testing.T) {
	for name, prepare := range map[string]func(r *run){
		"proven":   func(r *run) { r.Conn.Close(); rival(r) },
		"unproven": unproven,
	} {
		t.Run(name, func(t *testing.T) {
			r := newRun(t)
			prepare(r)
			plain := open(t, "file:"+r.Path)
			query(t, plain, "SELECT count(*) FROM t")
			requestsWithin := func(timeout string) (n int32) {
				var requests atomic.Int32
				r.Store.SetBefore(func(context.Context, string, string) error {
					requests.Add(1)
					return nil
				})
				if got := openError(t, uri(r.Path, r.Store, "restore=if-behind", "lock_timeout="+timeout)); !strings.Contains(got, "in use") {
					t.Error(got)
				}
				return requests.Load()
			}
			if once, often := requestsWithin("0s"), requestsWithin("300ms"); once == 0 || often != once {
				t.Errorf("%d requests at once, and %d while waiting", once, often)
			}
		})
	}
}
