package tests

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ncruces/go-sqlite3"

	"github.com/walvfs/walvfs/format"
	"github.com/walvfs/walvfs/shipper/replica"
	"github.com/walvfs/walvfs/shipper/storage"
	_ "github.com/walvfs/walvfs/shipper/storage/file"
	_ "github.com/walvfs/walvfs/shipper/storage/gcs"
	_ "github.com/walvfs/walvfs/shipper/storage/s3"
	"github.com/walvfs/walvfs/shipper/storage/storagetest"
	"github.com/walvfs/walvfs/vfs/internal/dbtest"
)

// The tests of this file use real stores, through the real drivers, and Litestream as the
// second opinion on their content. Package restore tests the other direction, a replica
// that Litestream wrote.

// TestInterop: Litestream restores an ordinary application's replica to the same bytes as
// walvfs, at each TXID, and can continue it.
func TestInterop(t *testing.T) {
	for _, test := range []struct {
		store    string
		replica  func(testing.TB) *storagetest.Replica
		pageSize int
	}{
		{"file", storagetest.File, 512},
		{"s3", storagetest.S3, 4096},
		{"gcs", storagetest.GCS, 65536},
	} {
		t.Run(test.store, func(t *testing.T) {
			replica := test.replica(t)
			replica.Setenv(t)
			l := newLitestream(t, replica)
			path := filepath.Join(t.TempDir(), "bank.db")
			commits := runBank(t, path, replica.URL, test.pageSize)

			store := replica.Open(t)
			requireEqual(t, store, path)
			t.Run("restore", func(t *testing.T) { requireSecondOpinion(t, l, store, path, commits) })
			t.Run("ltx", func(t *testing.T) { requireListed(t, l, store) })
			t.Run("takeover", func(t *testing.T) { requireTakeover(t, l, store, commits) })
		})
	}
}

// runBank opens a bank for three connections, closes it again, and returns the number of
// committed transactions.
func runBank(t *testing.T, path, replica string, pageSize int) (commits int) {
	t.Helper()
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	bank := uri(path, replicaURL(replica), "_pragma=busy_timeout(20000)")
	conn := open(t, bank)
	exec(t, conn, fmt.Sprintf("PRAGMA page_size=%d", pageSize), "PRAGMA auto_vacuum=incremental")
	exec(t, conn, bankSchema...)
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	var wg sync.WaitGroup
	for i := range 3 {
		wg.Go(func() {
			rng := rand.New(rand.NewPCG(seed, uint64(i)))
			c, err := sqlite3.Open(bank)
			if err != nil {
				t.Error(err)
				return
			}
			defer c.Close()
			err = c.Exec(fmt.Sprintf("PRAGMA cache_size=10; PRAGMA wal_autocheckpoint=%d", 10+rng.IntN(50)))
			for n := 0; n < 100 && expected(err); n++ {
				err = transact(c, rng, strconv.Itoa(i))
				if expected(err) {
					err = maintain(c, rng)
				}
				if expected(err) && rng.IntN(6) == 0 {
					err = dbtest.Flush(ctx, path) // otherwise all fit into a few TXIDs
				}
			}
			if !expected(err) {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	exec(t, conn, "VACUUM", "PRAGMA wal_checkpoint(TRUNCATE)", "INSERT INTO journal SELECT max(n) + 1, 'last' FROM journal")
	commits = requireBank(t, conn, "the database")
	if err := conn.Close(); err != nil {
		t.Fatal(err)
	}
	if got := pageSizeOf(t, path); got != pageSize {
		t.Fatalf("the page size is %d", got)
	}
	if commits < 200 {
		t.Errorf("only %d commits", commits)
	}
	return commits
}

func pageSizeOf(t *testing.T, path string) int {
	t.Helper()
	b := readFile(t, path)
	if size := int(b[16])<<8 | int(b[17]); size != 1 {
		return size
	}
	return 65536
}

// requireSecondOpinion restores the newest TXID and some others with both programs. Each
// is the bank at one commit, and a later TXID at a later commit.
func requireSecondOpinion(t *testing.T, l *litestream, store storage.Store, path string, commits int) {
	points := restorable(t, store)
	t.Logf("%d commits in %d TXIDs, %d bytes", commits, len(points), len(readFile(t, path)))
	if len(points) < 20 {
		t.Errorf("only %d TXIDs: too few to sample", len(points))
	}
	sample := points[:2:2]
	for range 5 {
		sample = append(sample, points[rand.IntN(len(points))])
	}
	slices.Sort(sample)
	last := 0
	for _, txid := range sample {
		n := l.requireSame(t, store, txid)
		if n < last {
			t.Errorf("TXID %s is at commit %d, an earlier one is at %d", txid, n, last)
		}
		last = n
	}
	if n := l.requireSame(t, store, 0); n != commits {
		t.Errorf("the newest TXID is at commit %d of %d", n, commits)
	}
}

func restorable(t *testing.T, store storage.Store) []format.TXID {
	t.Helper()
	files, err := replica.All(t.Context(), store)
	if err != nil {
		t.Fatal(err)
	}
	return files.Restorable()
}

// requireListed makes Litestream list the replica.
func requireListed(t *testing.T, l *litestream, store storage.Store) {
	files, err := replica.All(t.Context(), store)
	if err != nil {
		t.Fatal(err)
	}
	out := l.run(t, "ltx", "-level", "all", l.replica.URL)
	listed := map[string]bool{}
	for line := range strings.Lines(out) {
		// level, min_txid, max_txid, size, created
		if columns := strings.Fields(line); len(columns) == 5 {
			listed[strings.Join(columns[:4], " ")] = true
		}
	}
	for _, f := range files {
		if !listed[fmt.Sprintf("%d %s %s %d", f.Level, f.MinTXID, f.MaxTXID, f.Size)] {
			t.Fatalf("litestream does not list %s, %d bytes:\n%s", f, f.Size, out)
		}
	}
}

// takeoverConfig makes Litestream compact at once, so that it must read files that walvfs
// wrote.
const takeoverConfig = `
levels:
  - interval: 1s
  - interval: 2s
snapshot:
  interval: 2s
  retention: 1h
l0-retention: 1h
dbs:
  - path: %s
    monitor-interval: 20ms
    replica:
      url: %s
      sync-interval: 20ms
`

// requireTakeover restores with Litestream, as on another machine, and makes Litestream
// replicate from there.
func requireTakeover(t *testing.T, l *litestream, store storage.Store, commits int) {
	dir := t.TempDir()
	path, config := filepath.Join(dir, "bank.db"), filepath.Join(dir, "litestream.yml")
	l.run(t, "restore", "-o", path, l.replica.URL)
	if err := os.WriteFile(config, fmt.Appendf(nil, takeoverConfig, path, l.replica.URL), 0o600); err != nil {
		t.Fatal(err)
	}
	before := lastTXID(t, store)
	conn := open(t, "file:"+path+"?_pragma=busy_timeout(20000)")
	stop := l.replicate(t, config)
	rng := rand.New(rand.NewPCG(1, 2))
	taken := func() bool {
		files, err := replica.All(t.Context(), store)
		if err != nil {
			t.Fatal(err)
		}
		return slices.ContainsFunc(files, func(f replica.File) bool {
			return f.Level > 0 && f.Level < format.LevelSnapshot && f.MinTXID <= before && f.MaxTXID > before+5
		})
	}
	for deadline := time.Now().Add(20 * time.Second); !taken(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("litestream does not go on from our TXID %s: the newest is %s\n%s", before, lastTXID(t, store), stop())
		}
		if err := transact(conn, rng, "litestream"); err != nil {
			t.Fatal(err)
		}
	}
	want := requireBank(t, conn, "the database")
	log := stop()
	if strings.Contains(log, "level=ERROR") || strings.Contains(log, "level=WARN") {
		t.Errorf("litestream is not content:\n%s", log)
	}
	if got := l.requireSame(t, store, 0); got != want || want <= commits {
		t.Errorf("the replica is at commit %d, the database at %d, the bank that was taken over at %d", got, want, commits)
	}
	l.requireSame(t, store, before)
	points := restorable(t, store)
	l.requireSame(t, store, points[len(points)*9/10])
	t.Logf("litestream wrote TXID %s to %s", before+1, lastTXID(t, store))
}
