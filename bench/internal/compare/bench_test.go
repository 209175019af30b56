package compare

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ncruces/go-sqlite3"

	"github.com/walvfs/walvfs/shipper/storage"
)

// The applications run this program, too.
func TestMain(m *testing.M) {
	if isChild() {
		exit(runChild(os.Stdin, os.Stdout))
	}
	os.Exit(m.Run())
}

// A tiny comparison has the same parts as a large one.
func TestComparison(t *testing.T) {
	dir := t.TempDir()
	page, data := filepath.Join(dir, "page.html"), filepath.Join(dir, "data.json")
	args := []string{"-workload", "paced,read", "-store", "file", "-peers", "plain,walvfs", "-rounds", "2",
		"-duration", "700ms", "-json", data, "-html", page}
	var out bytes.Buffer
	if err := bench(t.Context(), args, &out); err != nil {
		t.Fatal(err)
	}
	r, err := readReport(data)
	if err != nil {
		t.Fatal(err)
	}
	if r.Machine.Cores == 0 || r.Machine.Go == "" || r.Machine.Versions["litestream"] == "" || r.Settings.Rounds != 2 {
		t.Errorf("machine: %+v, settings: %+v", r.Machine, r.Settings)
	}
	if len(r.Comparisons) != 2 {
		t.Fatalf("%d comparisons", len(r.Comparisons))
	}
	for _, c := range r.Comparisons {
		checkOrder(t, c)
		for _, run := range c.Runs {
			checkRun(t, c.Workload, run)
		}
		for _, peer := range c.Peers {
			checkCells(t, c, peer)
		}
	}
	for _, want := range []string{"paced on file", "read on file", "latency p99.9 ms", "×"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("the table lacks %q:\n%s", want, &out)
		}
	}
	checkPage(t, page)
	checkPuts(t, r.Comparisons[0])
	if r.Comparisons[1].Puts != nil {
		t.Error("bare PUTs beside a workload without lag")
	}

	var again bytes.Buffer
	if err := bench(t.Context(), []string{"-from", data}, &again); err != nil {
		t.Fatal(err)
	}
	if _, tables, _ := strings.Cut(out.String(), "\n\n"); again.String() != "\n"+tables {
		t.Errorf("shown again:\n%s\nat first:\n%s", &again, tables)
	}
}

// checkOrder checks that peers take turns.
func checkOrder(t *testing.T, c *Comparison) {
	t.Helper()
	var order []string
	for _, r := range c.Runs {
		order = append(order, r.Peer)
	}
	if got := strings.Join(order, " "); got != "plain walvfs plain walvfs" {
		t.Errorf("order %q", got)
	}
}

func checkRun(t *testing.T, w workload, r *Run) {
	t.Helper()
	if r.Transactions < 10 || r.Seconds < 0.5 || r.Counted < 0.5 || r.App.Memory == 0 || r.WAL == 0 || r.App.CPU < 0 {
		t.Errorf("%s, %s: %d transactions in %f s, %+v, WAL %d", w.Name, r.Peer, r.Transactions, r.Seconds, r.App, r.WAL)
	}
	if want := r.Transactions * int64(w.Reads); r.Reads != want {
		t.Errorf("%s, %s: %d reads, not %d", w.Name, r.Peer, r.Reads, want)
	}
	replicated := r.Peer == "walvfs"
	if (r.Restore > 0) != replicated || (r.Stored > 0) != replicated {
		t.Errorf("%s, %s: restore %f, stored %d", w.Name, r.Peer, r.Restore, r.Stored)
	}
	if !replicated || !w.Stamp {
		return
	}
	if r.lag == nil || r.lag.TotalCount() != r.Transactions || r.Missing != 0 || percentile(r.lag, 99) > 20_000 {
		t.Errorf("%s, %s: p99 of lag %g ms, missing %d of %d", w.Name, r.Peer, percentile(r.lag, 99), r.Missing, r.Transactions)
	}
}

func checkCells(t *testing.T, c *Comparison, peer string) {
	t.Helper()
	cell := func(metric string) Cell { return c.row(metric).Peers[peer] }
	p50, p99, most := cell("latency p50"), cell("latency p99"), cell("longest stall")
	if !(0 < p50.Median && p50.Median <= p99.Median && p99.Median <= most.Median) {
		t.Errorf("%s, %s: latencies %v, %v, %v", c.Workload.Name, peer, p50, p99, most)
	}
	if tps := cell("transactions"); tps.Median <= 0 || (tps.Ratio != nil) != (peer != c.Baseline) {
		t.Errorf("%s, %s: transactions %v", c.Workload.Name, peer, tps)
	}
}

// checkPage checks that the page has plots, and fetches nothing.
func checkPage(t *testing.T, path string) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	// An overview of throughput, CPU, WAL, stall, lag and restore; latency and lag; rounds and latency.
	if got := bytes.Count(b, []byte("<svg")); got != 6+2+2 {
		t.Errorf("%d plots", got)
	}
	for _, url := range regexp.MustCompile(`(?:https?:)?//[^"'<>\s]+`).FindAll(b, -1) {
		if !bytes.HasPrefix(url, []byte("http://www.w3.org/")) { // names, not addresses
			t.Errorf("the page refers to %s", url)
		}
	}
	if bytes.Contains(b, []byte("<script")) {
		t.Error("the page has a script")
	}
}

// checkPuts checks the bare PUTs: at the workload's pace after each round, as large as
// the replica's files.
func checkPuts(t *testing.T, c *Comparison) {
	t.Helper()
	if len(c.Puts) != c.Rounds {
		t.Fatalf("bare PUTs of %d rounds", len(c.Puts))
	}
	for i, p := range c.Puts {
		want := int64(math.Ceil((c.Duration - c.Workload.Drift.Seconds()) * c.Workload.Rate))
		// A busy machine makes fewer PUTs, because they do not overlap; no machine makes
		// more.
		if n := p.times.TotalCount(); p.Round != i+1 || n < 1 || n > want || p.Size < 100 || p.Size > 100_000 {
			t.Errorf("round %d: %d PUTs of %d bytes", p.Round, n, p.Size)
		}
		if p50 := percentile(p.times, 50); p50 <= 0 || p50 > 5000 {
			t.Errorf("round %d: p50 %g ms", p.Round, p50)
		}
	}
	for _, metric := range []string{"bare PUT p50", "bare PUT p99", "lag p50, in bare PUTs"} {
		if row := c.row(metric); row.Peers["walvfs"].Median <= 0 || row.Peers["plain"].Median != 0 || row.Peers["walvfs"].Ratio != nil {
			t.Errorf("%s: %v", metric, row.Peers)
		}
	}
}

// A run of a few commits every 2 s has lag, bare PUTs, and a result of the promise.
func TestPaced2s(t *testing.T) {
	data := filepath.Join(t.TempDir(), "data.json")
	args := []string{"-workload", "paced-2s", "-store", "file", "-peers", "walvfs", "-rounds", "1", "-duration", "5600ms", "-json", data}
	if err := bench(t.Context(), args, io.Discard); err != nil {
		t.Fatal(err)
	}
	r, err := readReport(data)
	if err != nil {
		t.Fatal(err)
	}
	run := r.Comparisons[0].Runs[0]
	if run.Transactions != 3 || run.Missing != 0 || run.lag.TotalCount() != 3 {
		t.Errorf("%d transactions, %d of known lag", run.Transactions, run.lag.TotalCount())
	}
	if lag := percentile(run.lag, 50); lag > 900 {
		t.Errorf("lag %g ms: the first commit after a pause does not wait for the interval", lag)
	}
	checkPuts(t, r.Comparisons[0])
}

// An idle application is measured while it sleeps, not when it wakes up to answer.
func TestIdle(t *testing.T) {
	j := job{store: storeKinds[0], round: 1, duration: 300 * time.Millisecond, warmUp: 200 * time.Millisecond}
	for _, w := range workloads {
		if w.Name == "idle" {
			j.workload = w
		}
	}
	j.workload.Databases = 3
	for _, p := range peers {
		if p.Name != "plain" && p.Name != "walvfs" {
			continue
		}
		j.peer = p
		r, err := j.run(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if r.Counted < 0.3 || r.Seconds-r.Counted < 0.7 {
			t.Errorf("%s: %g s of %g counted", p.Name, r.Counted, r.Seconds)
		}
		if r.Transactions != 0 || r.App.CPU < 0 || r.App.CPU > 0.2 || r.Missing != 0 {
			t.Errorf("%s: %+v", p.Name, r)
		}
	}
}

// Workloads that are more than a loop on a filled database show their effect, at the
// smallest possible size.
func TestSpecialWorkloads(t *testing.T) {
	data := filepath.Join(t.TempDir(), "data.json")
	args := []string{"-workload", "commit-1-sync,reopen,first-snapshot", "-size", "20", "-store", "versitygw", "-peers", "plain,walvfs,walvfs-sync",
		"-rounds", "1", "-duration", "1s", "-json", data}
	if err := bench(t.Context(), args, io.Discard); err != nil {
		t.Fatal(err)
	}
	r, err := readReport(data)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range r.Comparisons {
		t.Run(c.Workload.Name, func(t *testing.T) {
			for _, run := range c.Runs {
				sent := run.Traffic.Where(func(c Count) bool { return c.Kind == Put || c.Kind == Part }).Sent
				switch {
				case run.Transactions == 0:
					t.Errorf("%s: no transactions", run.Peer)
				case run.Peer == "plain":
					if sent > 0 {
						t.Errorf("%s sent %d bytes", run.Peer, sent)
					}
				case c.Workload.Size > 0 && sent < 8<<20: // half of the data can be compressed
					t.Errorf("%s sent %d bytes of a database of 20 MiB", run.Peer, sent)
				case c.Workload.Reopen && (run.Grown == 0 || sentOfGrown(run) <= 0):
					t.Errorf("%s: grown by %d, of which %g was sent", run.Peer, run.Grown, sentOfGrown(run))
				case c.Workload.Name == "commit-1-sync" && latencyInPuts(run) <= 0:
					t.Errorf("%s: %g bare PUTs", run.Peer, latencyInPuts(run))
				}
			}
		})
	}
}

// The quiet peer uploads nothing, and everything at the end.
func TestQuiet(t *testing.T) {
	j := job{store: storeKinds[1], round: 1, duration: time.Second, workload: workloads[0]}
	for _, p := range peers {
		if p.VFS != quietVFS {
			continue
		}
		j.peer = p
		r, err := j.run(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if n := r.Traffic.Total().Requests; n != 0 || r.Transactions == 0 || r.Restore == 0 {
			t.Errorf("%d requests, %d transactions, %g s to restore", n, r.Transactions, r.Restore)
		}
	}
}

// speedtest1 is go-sqlite3's, and its data is in the replica.
func TestSpeedtest1(t *testing.T) {
	j := job{store: storeKinds[0], round: 1}
	for _, w := range workloads {
		if w.SpeedTest > 0 {
			j.workload = w
		}
	}
	j.workload.SpeedTest = 1
	err := lend(t.Context(), func(l *lender) error {
		j.speedtest = speedtestProgram(l)
		for _, p := range peers {
			if !slices.Contains(j.workload.Peers, p.Name) {
				continue
			}
			j.peer = p
			r, err := j.run(l.Context())
			if err != nil {
				return err
			}
			if r.Wall <= 0 || p.InProcess != (r.Stored > 0) || p.InProcess != (r.Restore > 0) {
				t.Errorf("%s: %+v", p.Name, r)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// After an interrupt, the measurements so far are written, and no file if there are none.
func TestInterrupted(t *testing.T) {
	dir := t.TempDir()
	for _, after := range []int{0, 1} {
		ctx, interrupt := context.WithCancel(t.Context())
		data := filepath.Join(dir, fmt.Sprintf("%d.json", after))
		args := []string{"-workload", "commit-1-normal,hot", "-store", "file", "-peers", "plain", "-rounds", "1", "-duration", "100ms", "-json", data}
		out := &interrupter{interrupt: interrupt, word: []string{"This takes", "commit-1-normal on file"}[after]}
		if err := bench(ctx, args, out); !errors.Is(err, errInterrupted) {
			t.Errorf("after %d comparisons: %v", after, err)
		}
		r, err := readReport(data)
		switch {
		case after == 0 && !errors.Is(err, fs.ErrNotExist):
			t.Errorf("nothing was measured: %v", err)
		case after == 1 && (err != nil || len(r.Comparisons) != 1):
			t.Errorf("one comparison was made: %v", err)
		}
	}
}

// interrupter interrupts when a word is printed.
type interrupter struct {
	interrupt func()
	word      string
}

func (w *interrupter) Write(p []byte) (int, error) {
	if strings.Contains(string(p), w.word) {
		w.interrupt()
	}
	return len(p), nil
}

func TestBadFlags(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel() // accepted arguments end immediately
	for flags, want := range map[string]string{
		"-workload hot,warm":    `there is no "warm"; expected some of commit-1-normal,`,
		"-store s3":             `there is no "s3"; expected some of file,versitygw`,
		"-peers plain,":         `there is no ""; expected some of plain,walvfs`,
		"-duration 5":           `invalid value "5" for flag -duration`,
		"-duration -5s":         "cannot be negative",
		"-rounds -1":            "cannot be negative",
		"-fast":                 "flag provided but not defined: -fast",
		"quick":                 `unexpected "quick"`,
		"-from no-such-file":    "no-such-file",
		"-json /no/such/dir":    "/no/such/dir",
		"-trace /no/such/dir/x": "/no/such/dir",
	} {
		err := bench(ctx, strings.Fields(flags), io.Discard)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", flags, err)
		}
	}
}

// A restored database that differs from the application's fails the benchmark.
func TestCompareDatabases(t *testing.T) {
	dir := t.TempDir()
	database := func(name, sql string) string {
		path := filepath.Join(dir, name)
		conn, err := sqlite3.Open("file:" + path)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if err := conn.Exec(schema + ";" + sql); err != nil {
			t.Fatal(err)
		}
		return path
	}
	const rows = "INSERT INTO t (x) VALUES ('a'), ('b'), ('c');"
	original := database("original.db", rows)
	if err := compareDatabases(original, database("same.db", rows)); err != nil {
		t.Error(err)
	}
	for name, sql := range map[string]string{
		"missing": "INSERT INTO t (x) VALUES ('a'), ('b')",
		"changed": rows + "UPDATE t SET x = 'd' WHERE id = 2",
		"longer":  rows + "UPDATE t SET x = 'cc' WHERE id = 3",
		"renamed": rows + "UPDATE t SET id = 4 WHERE id = 3",
	} {
		if err := compareDatabases(original, database(name+".db", sql)); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

// The meter counts everything that a peer sends and receives once, on any store,
// including large objects.
func TestMeterServers(t *testing.T) {
	const large = 20 << 20
	for _, kind := range storeKinds[1:3] {
		t.Run(kind.Name, func(t *testing.T) {
			err := lend(t.Context(), func(l *lender) error {
				p := kind.place(l)
				store, err := storage.Open(l.Context(), p.used.URL, p.used.Options)
				if err != nil {
					return err
				}
				defer store.Close()
				if err := useStore(l, store, large); err != nil {
					return err
				}
				checkServerCounts(t, p.meter, large)
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
		})
	}
}

// useStore makes one request of each kind, and writes an object of a given size.
func useStore(l *lender, store storage.Store, large int) error {
	small, big := store.Layout().Key(0, 7, 7), store.Layout().Key(9, 1, 7)
	for key, size := range map[string]int{small: 1000, big: large} {
		if err := store.Create(l.Context(), key, bytes.NewReader(make([]byte, size)), storage.Attrs{}); err != nil {
			return err
		}
	}
	for _, err := range store.List(l.Context(), "", "") {
		if err != nil {
			return err
		}
	}
	r, _, err := store.Open(l.Context(), small, 0, -1)
	if err != nil {
		return err
	}
	defer r.Close()
	if _, err := io.Copy(io.Discard, r); err != nil {
		return err
	}
	return store.Delete(l.Context(), small)
}

func checkServerCounts(t *testing.T, m *meter, large int64) {
	t.Helper()
	c := m.Counts()
	of := func(kind Kind, level int) Count {
		return c.Where(func(c Count) bool { return c.Kind == kind && c.Level == level })
	}
	const envelope = 2000 // Google's metadata around an object
	if put := of(Put, 0); put.Requests != 1 || put.Sent < 1000 || put.Sent > 1000+envelope {
		t.Errorf("put: %+v", put)
	}
	// Amazon's API takes it in one request, Google's in many.
	if big := c.Where(func(c Count) bool { return c.Level == 9 }); big.Requests < 1 || big.Sent < large || big.Sent > large+envelope {
		t.Errorf("large: %+v", big)
	}
	if get := of(Get, 0); get.Requests != 1 || get.Received != 1000 {
		t.Errorf("get: %+v", get)
	}
	if list := of(List, NoLevel); list.Requests != 1 || list.Received == 0 {
		t.Errorf("list: %+v", list)
	}
	if n := c.Where(func(c Count) bool { return c.Kind == Delete }); n.Requests != 1 {
		t.Errorf("delete: %+v", n)
	}
	if a := m.Arrivals(); len(a) != 1 || a[0].file != "0/0000000000000007-0000000000000007" {
		t.Errorf("arrivals: %v", a)
	}
}

// A report with invalid histograms is refused, not shown.
func TestReadReport(t *testing.T) {
	path := filepath.Join(t.TempDir(), "bad.json")
	b, err := json.Marshal(Report{Comparisons: []*Comparison{{Runs: []*Run{{Latency: "no"}}}}})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := readReport(path); err == nil || !strings.Contains(err.Error(), path) {
		t.Error(err)
	}
}
