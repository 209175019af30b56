package vfs_test

import (
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ncruces/go-sqlite3"

	"github.com/walvfs/walvfs/format"
	"github.com/walvfs/walvfs/shipper"
	"github.com/walvfs/walvfs/shipper/restore"
	"github.com/walvfs/walvfs/shipper/storage"
	"github.com/walvfs/walvfs/shipper/storage/storagetest"
	"github.com/walvfs/walvfs/vfs"
)

func init() {
	vfs.Register("replicated-fast", vfs.Options{Policy: shipper.Policy{
		Levels:    []time.Duration{60 * time.Millisecond, 250 * time.Millisecond, time.Second},
		Snapshots: 2 * time.Second,
		Keep:      4 * time.Second,
	}})
}

// Whatever level a restore takes its files from, it gives the database as it was at
// one commit, a later one for a later TXID: ours and Litestream's, over restarts,
// with retention at work above level 0.
func TestLevels(t *testing.T) {
	replica := storagetest.File(t)
	store, err := storage.Open(t.Context(), replica.URL, replica.Options)
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	path := filepath.Join(t.TempDir(), "app.db")
	bank := strings.Replace(uri(path, replicaURL(replica.URL), "_pragma=busy_timeout(20000)"), "vfs=replicated&", "vfs=replicated-fast&", 1)
	conn := open(t, bank)
	exec(t, conn, bankSchema...)
	conn.Close()
	for range 3 {
		workBank(t, bank, 2*time.Second)
	}
	requireEqual(t, store, path)

	files, err := restore.ListFiles(t.Context(), store)
	if err != nil {
		t.Fatal(err)
	}
	levels := map[int]int{}
	for _, f := range files {
		levels[f.Level]++
	}
	tip := lastTXID(t, store)
	for _, level := range []int{0, 1, 2, 3, 9} {
		if levels[level] == 0 {
			t.Errorf("no file of level %d", level)
		}
	}
	points := format.Restorable(files)
	t.Logf("files by level: %v, of %s TXIDs; %d can be restored", levels, tip, len(points))
	before := 0
	for i := 0; i < len(points); i += 1 + len(points)/60 {
		txid := points[i]
		_, conn := restored(t, store, txid)
		at := requireBank(t, conn, fmt.Sprint("TXID ", txid))
		conn.Close()
		if at < before {
			t.Errorf("TXID %s is at commit %d, the one before at %d", txid, at, before)
		}
		before = at
	}
	l := newLitestream(t, replica)
	for i := 0; i < len(points); i += 1 + len(points)/15 {
		l.restoreBoth(t, store, points[i])
	}
	l.restoreBoth(t, store, 0)
}

// workBank opens the bank, has two connections work for a while, and closes it.
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
