package tests

import (
	"context"
	"database/sql"
	"fmt"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/walvfs/walvfs/format"
	"github.com/walvfs/walvfs/shipper"
	"github.com/walvfs/walvfs/shipper/storage/storagetest"
	"github.com/walvfs/walvfs/vfs"
	"github.com/walvfs/walvfs/vfs/internal/dbtest"
)

// An app is an application that uses a database through database/sql, and writes to it
// from several goroutines whatever the store does. The store's faults must not affect it.
type app struct {
	t       *testing.T
	replica *storagetest.Replica // as the application reaches it
	vfs     string
	path    string
	db      *sql.DB
	log     *logLines

	shipped  atomic.Int64 // uploads that were acknowledged
	commits  atomic.Int64
	failures atomic.Int64
	slowest  atomic.Int64 // statement, nanoseconds
	on       atomic.Bool  // the application writes
	writers  atomic.Int64 // goroutines that have not ended
}

// blocked is longer than any statement takes among other writers, on a machine that is
// busy with other work.
const blocked = 10 * time.Second

// newApp returns an application that has not opened its database.
func newApp(t *testing.T, replica *storagetest.Replica) *app {
	a := &app{t: t, replica: replica, path: filepath.Join(t.TempDir(), "app.db")}
	a.vfs, a.log = newVFS(t, vfs.Options{
		Storage: replica.Options,
		Events: func(_ string, e shipper.Event) {
			if s, ok := e.(shipper.Uploaded); ok && s.Level == format.LevelRaw {
				a.shipped.Add(1)
			}
		},
	})
	return a
}

// open opens the database, which needs no store.
func (a *app) open(params ...string) {
	a.t.Helper()
	params = append([]string{"_pragma=busy_timeout(20000)", "_pragma=wal_autocheckpoint(50)", "_pragma=synchronous(normal)"}, params...)
	u := uri(a.path, replicaURL(a.replica.URL), params...)
	db, err := sql.Open("sqlite3", strings.Replace(u, "vfs=replicated&", "vfs="+a.vfs+"&", 1))
	if err != nil {
		a.t.Fatal(err)
	}
	a.t.Cleanup(func() {
		a.stop() // otherwise it finds the database closed
		db.Close()
	})
	a.db = db
	a.do("CREATE TABLE IF NOT EXISTS t (id INTEGER PRIMARY KEY, x BLOB)")
	a.do("CREATE TABLE IF NOT EXISTS rare AS SELECT value AS id, randomblob(3000) AS x FROM generate_series(1, 20)")
}

// do runs a statement, which must succeed and not take long.
func (a *app) do(query string) {
	start := time.Now()
	_, err := a.db.Exec(query)
	if took := int64(time.Since(start)); took > a.slowest.Load() {
		a.slowest.Store(took) // or a concurrent maximum, which is as bad
	}
	if err != nil {
		a.failures.Add(1)
		a.t.Errorf("%s: %v", query, err)
	}
}

// start makes the application write, until stop.
func (a *app) start() {
	a.on.Store(true)
	for range 2 {
		a.writers.Add(1)
		go func() {
			defer a.writers.Add(-1)
			for n := 0; a.on.Load() && a.failures.Load() == 0; n++ {
				a.do(appStatements[n%len(appStatements)])
				a.commits.Add(1)
				time.Sleep(2 * time.Millisecond) // a load, not a race for the lock
			}
		}()
	}
}

var appStatements = []string{
	"INSERT INTO t (x) VALUES (randomblob(abs(random()) % 3000))",
	"UPDATE t SET x = randomblob(500) WHERE id IN (SELECT id FROM t ORDER BY random() LIMIT 3)",
	"INSERT INTO t (x) VALUES (randomblob(40))",
	"DELETE FROM t WHERE id IN (SELECT id FROM t ORDER BY random() LIMIT 1)",
}

// stop ends the writing and checks its statements.
func (a *app) stop() {
	if !a.on.Swap(false) {
		return
	}
	eventually(a.t, "nobody is blocked", func() bool { return a.writers.Load() == 0 })
	if slowest := time.Duration(a.slowest.Load()); slowest > blocked {
		a.t.Errorf("a statement took %s", slowest)
	}
}

// commitMore waits until the application has made n more commits.
func (a *app) commitMore(n int64) {
	a.t.Helper()
	enough := a.commits.Load() + n
	eventually(a.t, fmt.Sprintf("%d more commits", n), func() bool { return a.commits.Load() >= enough || a.failures.Load() > 0 })
}

// shipMore waits until the replica has acknowledged n more uploads.
func (a *app) shipMore(n int64) {
	a.t.Helper()
	enough := a.shipped.Load() + n
	eventually(a.t, fmt.Sprintf("%d more uploads", n), func() bool { return a.shipped.Load() >= enough })
}

func (a *app) status() shipper.Status {
	st, _ := dbtest.Status(a.path)
	return st
}

// retry makes replication retry at once, instead of after its backoff.
func (a *app) retry() {
	now, over := context.WithCancel(context.Background())
	over()
	dbtest.Flush(now, a.path)
}

// retrying waits until the status shows that replication fails.
func (a *app) retrying() {
	a.t.Helper()
	eventually(a.t, "replication fails", func() bool { return a.status().State == shipper.Retrying })
}

// truncate empties the WAL, which succeeds only if no reader blocks the application. The
// pages that it has just committed, which change at no other time, are no longer in the
// WAL.
func (a *app) truncate() {
	a.t.Helper()
	a.do("UPDATE rare SET x = randomblob(3000) WHERE id % 4 = 0")
	eventually(a.t, "the WAL is truncated", func() bool {
		var busy, frames, done int
		if err := a.db.QueryRow("PRAGMA wal_checkpoint(TRUNCATE)").Scan(&busy, &frames, &done); err != nil {
			a.t.Fatal(err)
		}
		return busy == 0
	})
}

// settle waits until the replica has every commit, without waiting for a backoff.
func (a *app) settle() {
	a.t.Helper()
	hurried(a.t, a.path, "after the fault")
}

// end closes the database and compares the replica with it, over a connection without the
// fault.
func (a *app) end(direct *storagetest.Replica) {
	a.t.Helper()
	a.stop()
	a.settle()
	eventually(a.t, "the status is as if nothing had been", func() bool {
		st := a.status()
		return st.State == shipper.Streaming && st.Err == nil && st.Lag == 0
	})
	if err := a.db.Close(); err != nil {
		a.t.Error(err)
	}
	store := direct.Open(a.t)
	requireEqual(a.t, store, a.path)
	_, conn := restored(a.t, store, 0)
	conn.Close()
}

// effect is the effect of a fault on replication.
type effect int

const (
	slows effect = iota // uploads take longer
	hangs               // one upload takes for ever
	fails               // uploads fail so soon that the status shows it
)

// await waits until a fault has its effect, and a while longer.
func (a *app) await(e effect) {
	a.t.Helper()
	switch e {
	case fails:
		a.retrying()
		a.commitMore(100)
	case hangs:
		eventually(a.t, "no upload is acknowledged", func() bool {
			before := a.shipped.Load()
			a.commitMore(100)
			return a.shipped.Load() == before
		})
	case slows:
		a.commitMore(300)
	}
}
