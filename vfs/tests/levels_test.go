package tests

import (
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ncruces/go-sqlite3"

	"github.com/walvfs/walvfs/shipper/storage"
	"github.com/walvfs/walvfs/shipper/storage/storagetest"
	"github.com/walvfs/walvfs/vfs/internal/dbtest"
)

// Whatever level a restore takes its files from, it restores the database at one commit,
// and a later TXID at a later commit: walvfs's restore and Litestream's, over restarts,
// with retention at work above level 0.
func TestLevels(t *testing.T) {
	replica := storagetest.File(t)
	store, err := storage.Open(t.Context(), replica.URL, replica.Options)
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	path := filepath.Join(t.TempDir(), "app.db")
	bank := strings.Replace(uri(path, replicaURL(replica.URL), "_pragma=busy_timeout(20000)"), "vfs=replicated&", "vfs="+dbtest.LevelsVFS+"&", 1)
	conn := open(t, bank)
	exec(t, conn, bankSchema...)
	conn.Close()
	for range 3 {
		workBank(t, bank, 2*time.Second)
	}
	requireEqual(t, store, path)

	points := dbtest.RequirePoints(t, store, 0, 1, 2, 3, 9)
	l := newLitestream(t, replica)
	for i := 0; i < len(points); i += 1 + len(points)/15 {
		l.restoreBoth(t, store, points[i])
	}
	l.restoreBoth(t, store, 0)
}

// workBank opens the bank, lets two connections work for a while, and closes it.
func workBank(t *testing.T, bank string, d time.Duration) {
	t.Helper()
	end := time.Now().Add(d)
	var wg sync.WaitGroup
	for i := range 2 {
		wg.Go(func() {
			rng := rand.New(rand.NewPCG(rand.Uint64(), uint64(i)))
			c, err := sqlite3.Open(bank)
			if err != nil {
				t.Error(err)
				return
			}
			defer c.Close()
			err = c.Exec(fmt.Sprintf("PRAGMA cache_size=10; PRAGMA wal_autocheckpoint=%d", 10+rng.IntN(50)))
			for time.Now().Before(end) && expected(err) {
				if err = transact(c, rng, "one"); expected(err) {
					err = maintain(c, rng)
				}
			}
			if !expected(err) {
				t.Error(err)
			}
		})
	}
	wg.Wait()
}
