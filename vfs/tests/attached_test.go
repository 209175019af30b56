package tests

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/ncruces/go-sqlite3"

	_ "github.com/walvfs/walvfs/shipper/storage/file"
	_ "github.com/walvfs/walvfs/shipper/storage/gcs"
	_ "github.com/walvfs/walvfs/shipper/storage/s3"
	"github.com/walvfs/walvfs/shipper/storage/storagetest"
	"github.com/walvfs/walvfs/vfs/internal/dbtest"
)

// TestAttached: databases attached to one connection have a replica each, and a plain
// database among them has none, even if the environment names a replica for all.
func TestAttached(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("WALVFS_REPLICA", "file://"+filepath.Join(dir, "any"))
	first, second, plain := filepath.Join(dir, "first.db"), filepath.Join(dir, "second.db"), filepath.Join(dir, "plain.db")
	replicas := map[string]*storagetest.Replica{first: storagetest.File(t), second: storagetest.File(t)}
	attached := func() *sqlite3.Conn {
		conn := open(t, uri(first, replicaURL(replicas[first].URL), "_pragma=busy_timeout(20000)"))
		exec(t, conn, "ATTACH '"+uri(second, replicaURL(replicas[second].URL))+"' AS second", "ATTACH 'file:"+plain+"' AS plain")
		return conn
	}
	conn := attached()
	for _, schema := range []string{"main", "second", "plain"} {
		exec(t, conn, "CREATE TABLE "+schema+".t (n INTEGER PRIMARY KEY, x)")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	var wg sync.WaitGroup
	for i := range 2 {
		c := attached()
		rng := rand.New(rand.NewPCG(3, uint64(i)))
		wg.Go(func() {
			defer c.Close()
			for n := range 60 {
				err := spend(c, rng)
				if n%10 == 0 {
					err = errors.Join(err, dbtest.Flush(ctx, first), dbtest.Flush(ctx, second))
				}
				if err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	want := query(t, conn, "SELECT count(*) || ' rows up to ' || max(n) FROM plain.t")
	if got := query(t, conn, "PRAGMA plain.journal_mode"); got != "delete" {
		t.Errorf("the plain file was put into journal mode %s", got)
	}
	if _, ok := dbtest.Status(plain); ok {
		t.Error("the plain file is replicated")
	}
	if err := conn.Close(); err != nil {
		t.Fatal(err)
	}

	for path, replica := range replicas {
		store := replica.Open(t)
		requireEqual(t, store, path)
		copied := open(t, "file:"+newLitestream(t, replica).restoreBoth(t, store, 0))
		if got := query(t, copied, "SELECT count(*) || ' rows up to ' || max(n) FROM t"); got != want {
			t.Errorf("the replica of %s has %s, the plain file %s", filepath.Base(path), got, want)
		}
		if points := restorable(t, store); len(points) < 6 {
			t.Errorf("the replica of %s has %d TXIDs", filepath.Base(path), len(points))
		}
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	if want := []string{"first.db", "first.db-walvfs", "plain.db", "second.db", "second.db-walvfs"}; !slices.Equal(names, want) {
		t.Errorf("the files are %q, want %q", names, want)
	}
}

// spend writes to three databases in one transaction, and sometimes rolls it back, and to
// some of them alone.
func spend(conn *sqlite3.Conn, rng *rand.Rand) error {
	end := "COMMIT"
	if rng.IntN(5) == 0 {
		end = "ROLLBACK"
	}
	size := rng.IntN(3000)
	err := conn.Exec("BEGIN IMMEDIATE")
	for _, schema := range []string{"main", "second", "plain"} {
		if err == nil {
			err = conn.Exec(fmt.Sprintf("INSERT INTO %s.t SELECT coalesce(max(n), 0) + 1, randomblob(%d) FROM plain.t", schema, size))
		}
	}
	if err == nil {
		err = conn.Exec(end)
	}
	if err == nil && rng.IntN(6) == 0 {
		err = conn.Exec(fmt.Sprintf("UPDATE second.t SET x = randomblob(%d) WHERE n %% 7 = %d", size, rng.IntN(7)))
	}
	if err == nil && rng.IntN(10) == 0 {
		err = conn.Exec("PRAGMA main.wal_checkpoint(FULL)")
	}
	return err
}
