package vfstest

import (
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/walvfs/walvfs/shipper/storage"
	_ "github.com/walvfs/walvfs/shipper/storage/file"
	"github.com/walvfs/walvfs/vfs/internal/dbtest"
)

// testConverge: the replica receives every change, in memory and in a directory.
func testConverge(t *testing.T) {
	t.Run("memory", func(t *testing.T) {
		store := dbtest.NewReplica(t)
		converge(t, store, store)
	})
	t.Run("file", func(t *testing.T) {
		replica := &url.URL{Scheme: "file", Path: t.TempDir()}
		store, err := storage.Open(t.Context(), replica.String(), storage.Options{})
		if err != nil {
			t.Fatal(err)
		}
		defer store.Close()
		converge(t, replica, store)
	})
}

func converge(t *testing.T, replica fmt.Stringer, store storage.Store) {
	path := filepath.Join(t.TempDir(), "app.db")
	conn := dbtest.Open(t, dbtest.URI(path, replica))
	dbtest.Exec(t, conn, "CREATE TABLE t (x)", "INSERT INTO t VALUES (1)")
	dbtest.Settled(t, path)
	if got := dbtest.Query(t, conn, "PRAGMA journal_mode"); got != "wal" {
		t.Errorf("journal_mode is %s", got)
	}
	for range 20 {
		dbtest.Exec(t, conn, "INSERT INTO t SELECT randomblob(1000) FROM generate_series(1, 20)")
		dbtest.Settled(t, path)
	}
	dbtest.Exec(t, conn, "DELETE FROM t", "VACUUM")
	if err := conn.Close(); err != nil {
		t.Fatal(err)
	}
	for _, suffix := range []string{"-wal", "-shm"} {
		if _, err := os.Stat(path + suffix); err == nil {
			t.Errorf("%s is left after the last close", suffix)
		}
	}
	dbtest.RequireEqual(t, store, path)
}

func testPageSizeIsTheApplications(t *testing.T) {
	for _, size := range []string{"512", "1024", "4096", "65536"} {
		t.Run(size, func(t *testing.T) {
			store := dbtest.NewReplica(t)
			path := filepath.Join(t.TempDir(), "app.db")
			conn := dbtest.Open(t, dbtest.URI(path, store))
			dbtest.Exec(t, conn, "PRAGMA page_size="+size, "PRAGMA auto_vacuum=incremental",
				"CREATE TABLE t (x)", "INSERT INTO t VALUES (randomblob(100000))")
			dbtest.Settled(t, path)
			dbtest.Exec(t, conn, "INSERT INTO t VALUES (randomblob(100000))")
			if got := dbtest.Query(t, conn, "PRAGMA page_size"); got != size {
				t.Errorf("page_size is %s", got)
			}
			if got := dbtest.Query(t, conn, "PRAGMA auto_vacuum"); got != "2" {
				t.Errorf("auto_vacuum is %s", got)
			}
			if got := dbtest.Query(t, conn, "PRAGMA journal_mode"); got != "wal" {
				t.Errorf("journal_mode is %s", got)
			}
			conn.Close()
			dbtest.RequireEqual(t, store, path)
		})
	}
}

// testSpill: the WAL holds frames of an unfinished transaction, with and without salts,
// which are rewritten before it commits. No cut holds them.
func testSpill(t *testing.T) {
	for _, psow := range []string{"psow=1", "psow=0"} {
		t.Run(psow, func(t *testing.T) {
			store := dbtest.NewReplica(t)
			path := filepath.Join(t.TempDir(), "app.db")
			conn := dbtest.Open(t, dbtest.URI(path, store, psow))
			dbtest.Exec(t, conn, "CREATE TABLE t (x)", dbtest.Spilling, "INSERT INTO t VALUES (1)")
			dbtest.Exec(t, conn, "BEGIN", dbtest.ManyRows)
			dbtest.Settled(t, path)
			if got := dbtest.ReplicaRows(t, store); got != "1" {
				t.Fatalf("the replica has %s rows of an open transaction", got)
			}
			dbtest.Exec(t, conn, "UPDATE t SET x = randomblob(400)", "COMMIT")
			dbtest.Settled(t, path)
			if got := dbtest.ReplicaRows(t, store); got != "501" {
				t.Fatalf("the replica has %s rows", got)
			}
			// The next transaction overwrites the frames of this one.
			dbtest.Exec(t, conn, "BEGIN", dbtest.ManyRows, "ROLLBACK")
			dbtest.Settled(t, path)
			dbtest.Exec(t, conn, "DELETE FROM t WHERE rowid < 100")
			conn.Close()
			dbtest.RequireEqual(t, store, path)
		})
	}
}

// testSynchronous: the application chooses its own durability.
func testSynchronous(t *testing.T) {
	for _, params := range [][]string{
		{"_pragma=synchronous(off)"}, {"_pragma=synchronous(normal)"}, {"_pragma=synchronous(full)"}, {"_pragma=synchronous(extra)"},
		{"_pragma=synchronous(full)", "psow=0"}, {"_pragma=synchronous(off)", "psow=0"}, {"_pragma=synchronous(full)", "psow=0", "_pragma=cache_size(10)"},
		{"_pragma=secure_delete(on)"}, {"_pragma=mmap_size(10000000)"}, {"_pragma=cell_size_check(on)", "_pragma=fullfsync(on)"},
	} {
		t.Run(strings.Join(params, ","), func(t *testing.T) {
			s := newShape(t, append(params, "_pragma=wal_autocheckpoint(20)")...)
			s.begin("CREATE TABLE t (x)")
			for i := range 12 {
				s.do("INSERT INTO t SELECT randomblob(1000) FROM generate_series(1, 20)",
					fmt.Sprintf("DELETE FROM t WHERE rowid %% 7 = %d", i%7), "SAVEPOINT a; UPDATE t SET x = 1; ROLLBACK TO a; INSERT INTO t VALUES (1); RELEASE a")
				if i%3 == 0 {
					s.ship("shipped")
				}
			}
			s.ship("at last")
			s.end()
		})
	}
}

// testChecksums: go-sqlite3 adds its page checksums on the way to the database file, so a
// cut must fill them in.
func testChecksums(t *testing.T) {
	store := dbtest.NewReplica(t)
	path := filepath.Join(t.TempDir(), "app.db")
	conn := dbtest.Open(t, dbtest.URI(path, store))
	if err := conn.EnableChecksums("main"); err != nil {
		t.Fatal(err)
	}
	dbtest.Exec(t, conn, "CREATE TABLE t (x)", dbtest.ManyRows)
	dbtest.Settled(t, path)
	_, copied := dbtest.Restored(t, store, 0)
	if got := dbtest.Query(t, copied, "SELECT count(*) FROM t"); got != "500" {
		t.Errorf("the copy has %s rows", got)
	}
	conn.Close()
	dbtest.RequireEqual(t, store, path)
}

// testQuiet is invariant 7: an empty COMMIT uploads nothing, and neither does an idle
// database.
func testQuiet(t *testing.T) {
	store := dbtest.NewReplica(t)
	path := filepath.Join(t.TempDir(), "app.db")
	conn := dbtest.Open(t, dbtest.URI(path, store))
	dbtest.Exec(t, conn, "CREATE TABLE t (x)", "INSERT INTO t VALUES (1)")
	dbtest.Settled(t, path)
	var requests atomic.Int64
	store.SetBefore(dbtest.CountRequests(&requests))
	dbtest.Exec(t, conn, "BEGIN IMMEDIATE", "COMMIT", "BEGIN", "SELECT * FROM t", "COMMIT", "PRAGMA wal_checkpoint(PASSIVE)")
	time.Sleep(50 * time.Millisecond)
	dbtest.Settled(t, path)
	if n := requests.Load(); n != 0 {
		t.Errorf("%d requests without a commit", n)
	}
}

// testNotBusy: a cut never locks a writer out.
func testNotBusy(t *testing.T) {
	store := dbtest.NewReplica(t)
	path := filepath.Join(t.TempDir(), "app.db")
	conn := dbtest.Open(t, dbtest.URI(path, store, "_pragma=busy_timeout(0)"))
	dbtest.Exec(t, conn, "CREATE TABLE t (x)", "PRAGMA wal_autocheckpoint=20")
	busy, commits := 0, 0
	for deadline := time.Now().Add(time.Second); time.Now().Before(deadline); commits++ {
		if err := conn.Exec("BEGIN IMMEDIATE; INSERT INTO t VALUES (randomblob(100)); COMMIT"); err != nil {
			t.Log(err)
			conn.Exec("ROLLBACK")
			busy++
		}
	}
	st, _ := dbtest.Status(path)
	if busy > 0 || st.Uploads < 10 {
		t.Errorf("%d of %d commits failed during %d cuts", busy, commits, st.Uploads)
	}
}
