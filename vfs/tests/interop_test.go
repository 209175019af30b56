package tests

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	osexec "os/exec"
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
	"github.com/walvfs/walvfs/shipper/restore"
	"github.com/walvfs/walvfs/shipper/storage"
	_ "github.com/walvfs/walvfs/shipper/storage/file"
	_ "github.com/walvfs/walvfs/shipper/storage/gcs"
	_ "github.com/walvfs/walvfs/shipper/storage/s3"
	"github.com/walvfs/walvfs/shipper/storage/storagetest"
	"github.com/walvfs/walvfs/vfs/internal/dbtest"
)

// The tests of this file use real stores, through the real drivers, and have
// Litestream as the second opinion on what is in them. The other direction, a
// replica that Litestream wrote, is tested by package restore.

// TestInterop: an ordinary application's replica restores with Litestream to the
// same bytes as with us, at each TXID, and Litestream can go on from it.
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

// runBank opens a bank for three connections, closes it again, and returns how
// many transactions it committed.
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
					err = dbtest.Flush(ctx, path) // or all fit into a few TXIDs
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

// requireSecondOpinion restores the newest TXID and some others with both
// programs. Each is the bank at one commit, a later one at a later commit.
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

// requireListed has Litestream list the replica.
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

// takeoverConfig makes Litestream compact at once, so that it has to read what we
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

// requireTakeover restores with Litestream on another machine, as it were, and
// has Litestream replicate from there.
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

// replicate runs Litestream until it is stopped, which returns its log.
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
		defer time.AfterFunc(10*time.Second, cancel).Stop() // it wedges
		if err := cmd.Wait(); err != nil {
			t.Errorf("litestream replicate: %v\n%s", err, &log)
		}
		return log.String()
	}
}

// restoreBoth restores a TXID, 0 for the newest, with both programs and fails
// unless they agree. It returns where.
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

// requireSame is restoreBoth for a bank. It returns the number of its newest
// commit.
func (l *litestream) requireSame(t *testing.T, store storage.Store, txid format.TXID) (commits int) {
	t.Helper()
	conn := open(t, "file:"+l.restoreBoth(t, store, txid))
	defer conn.Close()
	return requireBank(t, conn, "TXID "+txid.String())
}

// TestAttached: databases that are attached to one connection have a replica
// each, and a plain one among them has none, not even where the environment
// names one for all.
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

// spend writes to three databases in one transaction, sometimes rolled back, and
// to some of them alone.
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
