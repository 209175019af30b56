package tests

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
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
)

// Restore restores Litestream's replicas byte for byte as Litestream does: the newest
// TXID, older TXIDs and points in time, from all levels.
func TestLitestreamReplica(t *testing.T) {
	for name, place := range map[string]func(testing.TB) *storagetest.Replica{
		"file": storagetest.File,
		"s3":   storagetest.S3,
		"gcs":  storagetest.GCS,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			testLitestreamReplica(t, place(t))
		})
	}
}

func testLitestreamReplica(t *testing.T, place *storagetest.Replica) {
	l := &litestream{t: t, path: storagetest.Litestream(t), replica: place}
	dir := t.TempDir()
	live := l.replicate(filepath.Join(dir, "live.db"))
	store := l.replica.Open(t)
	files, err := replica.All(t.Context(), store)
	if err != nil {
		t.Fatal(err)
	}
	levels := map[int]int{}
	for _, f := range files {
		levels[f.Level]++
	}
	points := files.Restorable()
	if levels[0] == 0 || levels[1] == 0 || levels[9] == 0 || len(points) < 8 {
		t.Fatalf("the replica has too little to test: files by level %v, %d TXIDs", levels, len(points))
	}
	t.Logf("files by level %v, %d TXIDs", levels, len(points))

	newest := l.compare(store, "newest", restore.Options{})
	if newest.TXID != points[len(points)-1] {
		t.Errorf("restored TXID %s, the newest is %s", newest.TXID, points[len(points)-1])
	}
	checkRows(t, filepath.Join(dir, "live.db"), live)
	checkRows(t, filepath.Join(l.dir("newest"), "ours.db"), live)

	for i := 0; i < len(points); i += max(1, len(points)/8) {
		txid := points[i]
		l.compare(store, fmt.Sprintf("txid %s", txid), restore.Options{TXID: txid}, "-txid", txid.String())
	}
	compared := 0
	step := max(1, len(points)/8)
	for i := step; i+1 < len(points); i += step {
		at := cutTimes(t, store, files.Infos(), points[i:i+2])
		if !at[1].After(at[0].Add(time.Millisecond)) {
			continue
		}
		// Litestream's -timestamp means strictly before. It refuses a time after the newest
		// file, whose time S3 reports in seconds, and a time before the oldest, whose time is
		// its upload.
		just := at[0].Add(time.Millisecond)
		if newest.Time.Sub(just) < 2*time.Second {
			break
		}
		r := l.compare(store, fmt.Sprintf("time %d", i), restore.Options{Timestamp: just}, "-timestamp", just.Format(time.RFC3339Nano))
		if r.TXID != points[i] {
			t.Errorf("at %s: TXID %s, want %s", just, r.TXID, points[i])
		}
		compared++
	}
	if compared < 4 {
		t.Errorf("only %d points in time were compared", compared)
	}
}

// cutTimes returns when TXIDs were cut.
func cutTimes(t *testing.T, store storage.Store, files []format.FileInfo, txids []format.TXID) []time.Time {
	t.Helper()
	times := make([]time.Time, len(txids))
	for i, txid := range txids {
		for _, f := range files {
			if f.MaxTXID != txid || f.Level == format.LevelSnapshot {
				continue
			}
			times[i] = time.UnixMilli(readHeader(t, store, f).Timestamp).UTC()
		}
	}
	return times
}

func readHeader(t *testing.T, store storage.Store, f format.FileInfo) format.LTXHeader {
	t.Helper()
	r, _, err := store.Open(t.Context(), store.Layout().Key(f.Level, f.MinTXID, f.MaxTXID), 0, format.LTXHeaderSize)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	b, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	h, err := format.ParseLTXHeader(b)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

type litestream struct {
	t       *testing.T
	path    string
	replica *storagetest.Replica
	root    string
}

func (l *litestream) dir(name string) string {
	if l.root == "" {
		l.root = l.t.TempDir()
	}
	dir := filepath.Join(l.root, name)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		l.t.Fatal(err)
	}
	return dir
}

// Levels and retention take seconds, so that the replica has all kinds of files.
const litestreamConfig = `
levels:
  - interval: 1s
  - interval: 2s
snapshot:
  interval: 3s
  retention: 1h
l0-retention: 5s
l0-retention-check-interval: 500ms
dbs:
  - path: %s
    monitor-interval: 20ms
    replica:
      url: %s
      sync-interval: 20ms
`

// replicate runs Litestream during writes to a database, and returns the final number of
// rows.
func (l *litestream) replicate(path string) (rows int) {
	l.t.Helper()
	db, err := sqlite3.Open("file:" + path + "?_pragma=busy_timeout(10000)")
	if err != nil {
		l.t.Fatal(err)
	}
	defer db.Close()
	if err := db.Exec(`PRAGMA journal_mode = wal; CREATE TABLE t (id INTEGER PRIMARY KEY, data BLOB)`); err != nil {
		l.t.Fatal(err)
	}
	config := filepath.Join(l.dir("config"), "litestream.yml")
	if err := os.WriteFile(config, fmt.Appendf(nil, litestreamConfig, path, l.replica.URL), 0o600); err != nil {
		l.t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(l.t.Context(), time.Minute)
	defer cancel()
	var log bytes.Buffer
	cmd := exec.CommandContext(ctx, l.path, "replicate", "-config", config)
	cmd.Stdout, cmd.Stderr = &log, &log
	cmd.Env = l.env()
	cmd.WaitDelay = time.Second
	if err := cmd.Start(); err != nil {
		l.t.Fatal(err)
	}
	l.write(db)
	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		l.t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		l.t.Fatalf("litestream replicate: %v\n%s", err, &log)
	}
	stmt, _, err := db.Prepare(`SELECT count(*) FROM t`)
	if err != nil {
		l.t.Fatal(err)
	}
	defer stmt.Close()
	stmt.Step()
	return stmt.ColumnInt(0)
}

// env points Litestream to the replica. A CA bundle that this machine needs elsewhere
// stops Litestream from opening S3 at all.
func (l *litestream) env() []string {
	return slices.Concat(os.Environ(), l.replica.Env, []string{"AWS_CA_BUNDLE="})
}

// write commits for some seconds: the database grows, shrinks and is rebuilt.
func (l *litestream) write(db *sqlite3.Conn) {
	rnd := rand.New(rand.NewPCG(3, 4))
	start := time.Now()
	for i := 0; time.Since(start) < 7*time.Second; i++ {
		sql := fmt.Sprintf(`INSERT INTO t (data) WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n LIMIT %d) SELECT randomblob(%d) FROM n`, 1+rnd.IntN(20), rnd.IntN(3000))
		switch i % 10 {
		case 4, 6:
			sql = fmt.Sprintf(`UPDATE t SET data = randomblob(%d) WHERE id %% 50 = %d`, rnd.IntN(6000), rnd.IntN(50))
		case 8:
			sql = fmt.Sprintf(`DELETE FROM t WHERE id %% 4 = %d`, rnd.IntN(4))
		case 9:
			sql = `VACUUM`
		}
		if err := db.Exec(sql); err != nil {
			l.t.Fatal(err)
		}
		time.Sleep(time.Duration(rnd.IntN(60)) * time.Millisecond) // so that Litestream has many TXIDs
	}
}

// compare restores with both programs.
func (l *litestream) compare(store storage.Store, name string, opts restore.Options, flags ...string) restore.Result {
	l.t.Helper()
	dir := l.dir(name)
	theirs, ours := filepath.Join(dir, "theirs.db"), filepath.Join(dir, "ours.db")
	args := slices.Concat([]string{"restore", "-o", theirs}, flags, []string{l.replica.URL})
	cmd := exec.CommandContext(l.t.Context(), l.path, args...)
	cmd.Env = l.env()
	if out, err := cmd.CombinedOutput(); err != nil {
		l.t.Fatalf("%s: litestream restore: %v\n%s", name, err, out)
	}
	r, err := restore.Restore(l.t.Context(), store, ours, opts)
	if err != nil {
		l.t.Fatalf("%s: %v", name, err)
	}
	got, err := os.ReadFile(ours)
	want, e := os.ReadFile(theirs)
	if err := errors.Join(err, e); err != nil {
		l.t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		l.t.Fatalf("%s: %d bytes differ from the %d that Litestream restored", name, len(got), len(want))
	}
	return r
}

// checkRows checks the rows of a restored database.
func checkRows(t *testing.T, path string, want int) {
	t.Helper()
	db, err := sqlite3.Open("file:" + path)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	stmt, _, err := db.Prepare(`SELECT count(*), (SELECT * FROM pragma_integrity_check) FROM t`)
	if err != nil {
		t.Fatal(err)
	}
	defer stmt.Close()
	if !stmt.Step() || stmt.ColumnInt(0) != want || stmt.ColumnText(1) != "ok" {
		t.Errorf("%s: %d rows, integrity %q; want %d, ok", path, stmt.ColumnInt(0), stmt.ColumnText(1), want)
	}
}
