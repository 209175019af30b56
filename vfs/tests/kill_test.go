package tests

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	osexec "os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ncruces/go-sqlite3"

	"github.com/walvfs/walvfs/shipper"
	"github.com/walvfs/walvfs/shipper/restore"
	"github.com/walvfs/walvfs/shipper/storage"
	"github.com/walvfs/walvfs/shipper/storage/storagetest"
	"github.com/walvfs/walvfs/vfs/internal/dbtest"
)

// Environment variables of the killed process. The process is this test binary, which
// runs TestKill.
const (
	killPath    = "WALVFS_TEST_KILL_PATH"
	killReplica = "WALVFS_TEST_KILL_REPLICA"
	killSeed    = "WALVFS_TEST_KILL_SEED"
)

// TestKill kills a process at any moment, and once more after it was started again. The
// replica has every acknowledged row when it is restored on another machine, with all
// rows before it and no uncommitted row; and the files left on this machine converge.
func TestKill(t *testing.T) {
	if path := os.Getenv(killPath); path != "" {
		victim(path, os.Getenv(killReplica), os.Getenv(killSeed))
		return
	}
	for _, test := range []struct {
		store   string
		replica func(testing.TB) *storagetest.Replica
		rounds  int
	}{
		{"file", storagetest.File, 5},
		{"s3", storagetest.S3, 3},
	} {
		for round := range test.rounds {
			t.Run(fmt.Sprintf("%s/%d", test.store, round), func(t *testing.T) {
				testKill(t, test.replica(t), rand.Uint64())
			})
		}
	}
}

func testKill(t *testing.T, replica *storagetest.Replica, seed uint64) {
	replica.Setenv(t)
	path := filepath.Join(t.TempDir(), "app.db")
	store := replica.Open(t)
	rng := rand.New(rand.NewPCG(seed, 0))
	var committed, acked, there int
	for range 2 {
		after := time.Duration(rng.IntN(500)) * time.Millisecond
		said := runVictim(t, path, replica.URL, seed, after)
		committed, acked = max(committed, said["committed"]), max(acked, said["acked"])
		there = requireElsewhere(t, newLitestream(t, replica), store)
		t.Logf("seed %d: killed after %s at row %d, acknowledged up to %d, in the replica up to %d", seed, after, committed, acked, there)
		if there < acked {
			t.Errorf("row %d was acknowledged, the replica ends at %d", acked, there)
		}
	}

	conn := open(t, uri(path, replicaURL(replica.URL)))
	here := requireNumbered(t, conn, "the database that was left")
	if here < there || here < committed {
		t.Errorf("the database has %d rows, the replica %d, and %d were committed", here, there, committed)
	}
	exec(t, conn, "CREATE TABLE afterwards (x)")
	settled(t, path)
	if err := conn.Close(); err != nil {
		t.Fatal(err)
	}
	requireEqual(t, store, path)
}

// TestInterruptedTwice reproduces a rare case of TestKill. The last upload of a first run
// arrived, but its answer did not; the first upload of the second run did not arrive. The
// replica is still this database's own.
func TestInterruptedTwice(t *testing.T) {
	store := newReplica(t)
	path := filepath.Join(t.TempDir(), "app.db")
	var arrive, down atomic.Bool // one more upload arrives; no answer does
	store.Before = func(_ context.Context, op, _ string) error {
		if op == "create" && down.Load() && !arrive.Swap(false) {
			return errInjected
		}
		return nil
	}
	store.After = func(_ context.Context, op, _ string) error {
		if op == "create" && down.Load() {
			return errInjected
		}
		return nil
	}
	database := uri(path, store, "close_timeout=1ms")
	conn := open(t, database)
	exec(t, conn, "CREATE TABLE t (x)")
	before := settled(t, path)
	down.Store(true)
	arrive.Store(true)
	for _, sql := range []string{"INSERT INTO t VALUES (1)", "INSERT INTO t VALUES (2)"} {
		exec(t, conn, sql)
		eventually(t, "the upload fails", func() bool {
			st, _ := dbtest.Status(path)
			return st.State == shipper.Retrying
		})
		if got := lastTXID(t, store); got != before+1 {
			t.Fatalf("the replica's tip is TXID %s, not the one after %s", got, before)
		}
		conn.Close()
		conn = open(t, database)
	}
	down.Store(false)
	exec(t, conn, "INSERT INTO t VALUES (3)")
	settled(t, path)
	conn.Close()
	requireEqual(t, store, path)
}

// TestFirstStatement: an application that opens its database alone, without a busy
// timeout, never finds the database locked by replication.
func TestFirstStatement(t *testing.T) {
	store := newReplica(t)
	path := filepath.Join(dbtest.MemoryDir(t), "app.db")
	database := uri(path, store)
	for i := range 200 {
		conn := open(t, database)
		if err := conn.Exec("CREATE TABLE IF NOT EXISTS t (x); INSERT INTO t VALUES (1)"); err != nil {
			t.Fatalf("open %d: %v (busy recovery: %t)", i, err, errors.Is(err, sqlite3.BUSY_RECOVERY))
		}
		conn.Close()
	}
}

// runVictim starts a process that writes, kills it some time after it has opened the
// database, and returns the largest number of each kind in its output.
func runVictim(t *testing.T, path, replica string, seed uint64, after time.Duration) map[string]int {
	t.Helper()
	cmd := osexec.Command(os.Args[0], "-test.run=^TestKill$", "-test.v=false", "-test.timeout=1m")
	cmd.Env = append(os.Environ(), killPath+"="+path, killReplica+"="+replica, fmt.Sprintf("%s=%d", killSeed, seed))
	var log strings.Builder
	cmd.Stderr = &log
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Process.Kill()
	said := map[string]int{}
	for lines := bufio.NewScanner(out); lines.Scan(); {
		what, number, _ := strings.Cut(lines.Text(), " ")
		n, err := strconv.Atoi(number)
		if err != nil {
			t.Fatalf("the process says %q\n%s", lines.Text(), &log)
		}
		if what == "open" {
			time.AfterFunc(after, func() { cmd.Process.Kill() })
		}
		said[what] = max(said[what], n)
	}
	// The error of a killed process has no exit code.
	var exit *osexec.ExitError
	if err := cmd.Wait(); !errors.As(err, &exit) || exit.ExitCode() >= 0 {
		t.Fatalf("the process was not killed: %v\n%s", err, &log)
	}
	if strings.Contains(log.String(), "RACE") {
		t.Errorf("the process says:\n%s", &log)
	}
	return said
}

// victim writes numbered rows from several connections, and prints its progress, until it
// is killed.
func victim(path, replica, seed string) {
	say := func(what string, n int) { os.Stdout.WriteString(fmt.Sprintf("%s %d\n", what, n)) } // one write each
	fail := func(err error) {
		fmt.Fprintln(os.Stderr, "the victim:", err)
		os.Exit(1)
	}
	time.AfterFunc(30*time.Second, func() { fail(errors.New("nobody killed it")) })
	database := uri(path, replicaURL(replica), "_pragma=busy_timeout(20000)")
	first, err := sqlite3.Open(database)
	if err == nil {
		say("open", 0)
		err = first.Exec(numberedSchema)
	}
	if err != nil {
		fail(err)
	}
	s, _ := strconv.ParseUint(seed, 10, 64)
	var wg sync.WaitGroup
	for i := range 4 {
		wg.Go(func() {
			rng := rand.New(rand.NewPCG(s, uint64(i)))
			c, err := sqlite3.Open(database)
			if err == nil {
				err = c.Exec(fmt.Sprintf("PRAGMA cache_size=10; PRAGMA wal_autocheckpoint=%d", 5+rng.IntN(60)))
			}
			for err == nil {
				var n int
				if n, err = addNumber(c, rng); err != nil {
					break
				}
				say("committed", n)
				// The first connection never waits, the second always, the others
				// sometimes.
				if i == 1 || i > 1 && rng.IntN(4) == 0 {
					if err = dbtest.Flush(context.Background(), path); err == nil {
						say("acked", n)
					}
				}
			}
			fail(err)
		})
	}
	wg.Wait()
}

// A numbered database has rows 1 to n, each with a content that follows from its number,
// and in each slot the last number written to it.
const numberedSchema = `BEGIN;
	CREATE TABLE IF NOT EXISTS row (n INTEGER PRIMARY KEY, data TEXT);
	CREATE TABLE IF NOT EXISTS slot (id INTEGER PRIMARY KEY, n INTEGER, data TEXT);
	COMMIT`

const numberedData = "printf('%0*d', 50 + n * 7919 % 3000, n)"

// addNumber commits the next row and returns its number.
func addNumber(conn *sqlite3.Conn, rng *rand.Rand) (n int, err error) {
	if rng.IntN(6) == 0 {
		// These frames have no commit, and the next transaction overwrites them.
		err = conn.Exec("BEGIN IMMEDIATE; UPDATE slot SET data = randomblob(2500); ROLLBACK")
	}
	if err == nil {
		err = conn.Exec(`BEGIN IMMEDIATE;
			INSERT INTO row(n) SELECT coalesce(max(n), 0) + 1 FROM row;
			UPDATE row SET data = ` + numberedData + ` WHERE data IS NULL;
			INSERT OR REPLACE INTO slot SELECT n % 40, n, data FROM row ORDER BY n DESC LIMIT 1`)
	}
	if err != nil {
		return 0, err
	}
	stmt, _, err := conn.Prepare("SELECT max(n) FROM row")
	if err != nil {
		return 0, err
	}
	stmt.Step()
	n = stmt.ColumnInt(0)
	return n, errors.Join(stmt.Close(), conn.Exec("COMMIT"))
}

// requireNumbered fails unless a database is in the state after some row's commit, and
// returns the row's number.
func requireNumbered(t *testing.T, conn *sqlite3.Conn, label string) (last int) {
	t.Helper()
	if got := query(t, conn, "PRAGMA integrity_check"); got != "ok" {
		t.Fatalf("%s: integrity_check: %s", label, got)
	}
	if query(t, conn, "SELECT count(*) FROM sqlite_schema") == "0" {
		return 0
	}
	last, _ = strconv.Atoi(query(t, conn, "SELECT coalesce(max(n), 0) FROM row"))
	for what, sql := range map[string]string{
		"missing rows": "SELECT coalesce(max(n), 0) - count(*) FROM row",
		"wrong rows":   "SELECT count(*) FROM row WHERE data IS NOT " + numberedData,
		"wrong slots": "SELECT count(*) FROM slot WHERE data IS NOT " + numberedData +
			" OR n IS NOT (SELECT max(n) FROM row WHERE n % 40 = id)",
	} {
		if got := query(t, conn, sql); got != "0" {
			t.Errorf("%s: of %d rows, %s: %s", label, last, what, got)
		}
	}
	return last
}

// requireElsewhere restores the database from only the replica, and returns its number of
// rows.
func requireElsewhere(t *testing.T, l *litestream, store storage.Store) int {
	t.Helper()
	_, err := restore.Restore(t.Context(), store, filepath.Join(t.TempDir(), "app.db"), restore.Options{})
	if errors.Is(err, restore.ErrNoReplica) {
		return 0 // killed before the first file
	}
	conn := open(t, "file:"+l.restoreBoth(t, store, 0))
	defer conn.Close()
	return requireNumbered(t, conn, "the replica")
}
