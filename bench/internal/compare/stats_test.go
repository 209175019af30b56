package compare

import (
	"math"
	"net/url"
	"reflect"
	"testing"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"github.com/walvfs/walvfs/format"
)

func TestSpread(t *testing.T) {
	for _, test := range []struct {
		values []float64
		want   Spread
	}{
		{nil, Spread{}},
		{[]float64{3}, Spread{3, 3, 3}},
		{[]float64{9, 1, 2}, Spread{2, 1, 9}},
		{[]float64{9, 1, 2, 4}, Spread{3, 1, 9}},
	} {
		if got := spread(test.values); got != test.want {
			t.Errorf("spread(%v) = %v", test.values, got)
		}
	}
}

// The median of ratios, not the ratio of medians: here the machine was slow in round 2,
// and the peer was not measured in round 3.
func TestRatios(t *testing.T) {
	run := func(round int, n int64) *Run { return &Run{Round: round, Transactions: n, Seconds: 1} }
	peer := []*Run{run(1, 50), run(2, 6), run(4, 45)}
	baseline := []*Run{run(1, 100), run(2, 10), run(3, 1), run(4, 90), run(5, 0)}
	got := ratios(peer, baseline, valueOf("transactions"))
	if want := []float64{0.5, 0.6, 0.5}; !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if got := ratios([]*Run{run(5, 1)}, baseline, valueOf("transactions")); got != nil {
		t.Errorf("to nothing: %v", got)
	}
}

func TestPercentile(t *testing.T) {
	h := newHistogram()
	for ms := range 1000 {
		h.RecordValue((time.Duration(ms+1) * time.Millisecond).Nanoseconds())
	}
	for p, want := range map[float64]float64{50: 500, 99: 990, 99.9: 999, 100: 1000} {
		if got := percentile(h, p); math.Abs(got-want) > want/500 {
			t.Errorf("p%g = %g ms, want %g", p, got, want)
		}
	}
	if got := percentile(nil, 50); got != 0 {
		t.Errorf("of nothing: %g", got)
	}
}

// A transaction is in the store as soon as the first file with it or a later transaction
// is.
func TestLags(t *testing.T) {
	start := time.Unix(1000, 0)
	at := func(ms int) time.Time { return start.Add(time.Duration(ms) * time.Millisecond) }
	// The fifth arrived before it had returned, the sixth never.
	committed := []int64{at(0).UnixNano(), at(10).UnixNano(), at(20).UnixNano(), at(30).UnixNano(), at(200).UnixNano(), at(300).UnixNano()}
	seen := []stamp{{4, at(120), 1}, {0, at(-5), 1}, {2, at(50), 1}, {3, at(130), 1}, {5, at(190), 1}}
	h, missing := lags(committed, seen)
	if missing != 1 || h.TotalCount() != 5 {
		t.Errorf("%d missing, %d known", missing, h.TotalCount())
	}
	// 50, 40, 100, 90 and 0 ms
	for p, want := range map[float64]float64{20: 0, 40: 40, 60: 50, 80: 90, 100: 100} {
		if got := percentile(h, p); math.Abs(got-want) > 0.2 {
			t.Errorf("p%g = %g ms, want %g", p, got, want)
		}
	}
}

// Each PUT is paired with its own arrival, and the connection's first PUT with none.
func TestMatchPuts(t *testing.T) {
	start := time.Unix(1000, 0)
	at := func(ms int) time.Time { return start.Add(time.Duration(ms) * time.Millisecond) }
	file := func(n format.TXID) string { return format.FileInfo{MinTXID: n, MaxTXID: n}.String() }
	sent := []int64{at(10).UnixNano(), at(30).UnixNano(), at(100).UnixNano()}
	seen := []arrival{{file(1), at(5)}, {file(2), at(12)}, {file(4), at(109)}, {file(3), at(34)}}
	h, err := matchPuts(sent, seen)
	if err != nil || h.TotalCount() != 3 {
		t.Fatal(h, err)
	}
	for p, want := range map[float64]float64{30: 2, 60: 4, 100: 9} {
		if got := percentile(h, p); math.Abs(got-want) > 0.01 {
			t.Errorf("p%g = %g ms, want %g", p, got, want)
		}
	}
	if _, err := matchPuts(sent, seen[:3]); err == nil {
		t.Error("one was not seen, and no error")
	}
}

func TestCommitSize(t *testing.T) {
	seen := []stamp{{n: 0, size: 9e6}, {n: 0, size: 8e6}, {n: 1, size: 700}, {n: 2, size: 900}, {n: 3, size: 1e5}}
	if got := commitSize(seen); got != 900 {
		t.Errorf("%d bytes", got)
	}
	if got := commitSize(seen[:2]); got != 0 {
		t.Errorf("%d bytes of no commit", got)
	}
}

// Bare PUTs are as large as the files of the peers with known lag.
func TestSizeOfPuts(t *testing.T) {
	run := func(size int64) *Run { return &Run{FileSize: size, lag: newHistogram()} }
	if got := sizeOfPuts([]*Run{{FileSize: 1}, run(800), run(0), run(900)}); got != 850 {
		t.Errorf("%d bytes", got)
	}
	if got := sizeOfPuts([]*Run{{}, run(0)}); got != 0 {
		t.Errorf("%d bytes of nothing", got)
	}
}

// Lag is measured in bare PUTs of the run's own round.
func TestLagInPuts(t *testing.T) {
	of := func(ms int) *hdrhistogram.Histogram {
		h := newHistogram()
		h.RecordValue(int64(ms) * 1e6)
		return h
	}
	c := &Comparison{Peers: []string{"walvfs"}, Runs: []*Run{
		{Peer: "walvfs", Round: 1, lag: of(6)}, {Peer: "walvfs", Round: 2, lag: of(20)}, {Peer: "walvfs", Round: 3, lag: of(1)}},
		Puts: []*Puts{{Round: 2, times: of(10)}, {Round: 1, times: of(2)}}}
	c.pairPuts()
	for i, want := range []float64{3, 2, 0} { // the third round has no bare PUTs
		if got := lagInPuts(c.Runs[i]); math.Abs(got-want) > 0.01 {
			t.Errorf("round %d: %g", i+1, got)
		}
	}
	c.Baseline = "litestream"
	c.Runs = append(c.Runs, &Run{Peer: c.Baseline, Round: 1, lag: of(8)})
	for _, r := range c.Runs {
		r.Seconds, r.Counted = 1, 1
	}
	c.summarize()
	if row := c.row("lag p50, in bare PUTs"); row.Peers["walvfs"].Ratio != nil || math.Abs(row.Peers["walvfs"].Median-2) > 0.01 {
		t.Errorf("%+v", row)
	}
}

// Commits are due at the pace, evenly at all points of a second.
func TestDue(t *testing.T) {
	w := workload{Rate: 0.5, Drift: time.Second}
	var tenths [10]int
	for n := range int64(20) {
		drift := w.due(n) - time.Duration(n)*2*time.Second - w.Drift
		if drift < 0 || drift >= time.Second {
			t.Fatalf("commit %d: %v late", n, drift)
		}
		tenths[drift/(time.Second/10)]++
	}
	for i, n := range tenths {
		if n < 1 || n > 3 {
			t.Errorf("%d commits of 20 in tenth %d of the second", n, i)
		}
	}
	if got := (workload{Rate: 50}).due(3); got != 60*time.Millisecond {
		t.Errorf("without drift: %v", got)
	}
	if got := (workload{Drift: time.Second}).due(3); got != 0 {
		t.Errorf("without a pace: %v", got)
	}
}

func TestClassify(t *testing.T) {
	const s3, gcs, file = "/bucket/app/", "/storage/v1/b/bucket/o", "0000000000000001-00000000000000ff.ltx"
	for _, test := range []struct {
		method, url string
		want        call
	}{
		{"PUT", s3 + "0000/" + file, call{Put, 0}},
		{"PUT", s3 + "0009/" + file + "?partNumber=1&uploadId=x", call{Part, 9}},
		{"POST", s3 + "0009/" + file + "?uploads", call{Part, 9}},
		{"POST", s3 + "0009/" + file + "?uploadId=x", call{Part, 9}},
		{"DELETE", s3 + "0009/" + file + "?uploadId=x", call{Delete, 9}},
		{"GET", s3 + "0002/" + file, call{Get, 2}},
		{"HEAD", s3 + "0002/" + file, call{Get, 2}},
		{"GET", "/bucket?list-type=2&prefix=app%2F000", call{List, NoLevel}},
		{"POST", "/bucket?delete", call{Delete, NoLevel}},
		{"PUT", s3 + "other", call{Put, NoLevel}},
		{"POST", "/upload" + gcs + "?uploadType=multipart&name=app%2Fltx%2F1%2F" + file, call{Put, 1}},
		{"POST", "/upload" + gcs + "?uploadType=resumable&name=app%2Fltx%2F9%2F" + file, call{Part, 9}},
		{"PUT", "/upload" + gcs + "?uploadType=resumable&upload_id=x&name=app%2Fltx%2F9%2F" + file, call{Part, 9}},
		{"GET", gcs + "?prefix=app", call{List, NoLevel}},
		{"GET", gcs + "/app%2Fltx%2F0%2F" + file + "?alt=media", call{Get, 0}},
		{"DELETE", gcs + "/app%2Fltx%2F0%2F" + file, call{Delete, 0}},
	} {
		u, err := url.Parse(test.url)
		if err != nil {
			t.Fatal(err)
		}
		if got, _ := classify(test.method, u); got != test.want {
			t.Errorf("%s %s: %v, want %v", test.method, test.url, got, test.want)
		}
	}
}

func TestMinus(t *testing.T) {
	now := Counts{{Get, 0, 5, 0, 500}, {Put, 0, 3, 30, 0}, {Put, 1, 2, 20, 0}}
	earlier := Counts{{Put, 0, 1, 10, 0}, {Put, 1, 2, 20, 0}}
	want := Counts{{Get, 0, 5, 0, 500}, {Put, 0, 2, 20, 0}}
	if got := now.Minus(earlier); !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

// An hour and a half of known traffic: a day is 16 times that, plus 24 files of level 3
// and one snapshot.
func TestEstimateDay(t *testing.T) {
	r := &Run{
		Peer:    "litestream",
		Counted: 5400,
		Stored:  2e9,
		Start:   Counts{{Part, 0, 4, 700, 0}, {Put, 0, 1, 5, 0}},
		WarmUp:  Counts{{Part, 9, 3, 600, 0}, {Put, 0, 99, 99, 0}},
		Traffic: Counts{
			{Put, 0, 1000, 10000, 0}, {Put, 1, 180, 1800, 0}, {Put, 2, 18, 180, 0}, {Get, 1, 180, 0, 1800}, {List, NoLevel, 50, 0, 9},
			{Delete, NoLevel, 6, 60, 0},
			{Put, 3, 1, 5000, 0}, {Get, 2, 7, 0, 5000}, {Part, 9, 3, 600, 0}, // too rare to scale
		},
	}
	d := estimateDay(r)
	of := func(kind Kind, level int) Count {
		return d.Day.Where(func(c Count) bool { return c.Kind == kind && c.Level == level })
	}
	for _, test := range []struct {
		kind                     Kind
		level                    int
		requests, sent, received int64
	}{
		{Put, 0, 16000, 160000, 0},
		{Put, 1, 2880, 28800, 0},
		{Put, 2, 288, 2880, 0},
		{Get, 1, 2880, 0, 28800},
		{List, NoLevel, 800, 0, 144},
		{Delete, NoLevel, 96, 960, 0},
		{Put, 3, 24, 2880, 0}, // each from 12 files of level 2
		{Get, 2, 288, 0, 2880},
		{Part, 9, 3, 600, 0},
	} {
		if got := of(test.kind, test.level); got.Requests != test.requests || got.Sent != test.sent || got.Received != test.received {
			t.Errorf("%s, level %d: %+v, want %+v", test.kind, test.level, got, test)
		}
	}
	// 19,995 writes and lists, and 3,168 reads, a day; deletes are free.
	want := 30 * (19.995*0.005 + 3.168*0.0004)
	if got := d.Bills[0]; math.Abs(got.Requests-want) > 1e-9 || math.Abs(got.Storage-2*0.023) > 1e-9 {
		t.Errorf("%+v, want %g", got, want)
	}

	// A peer that never read a file of level 1 does not read level 2 either; a snapshot
	// that was not made yet is as large as the first upload.
	r.Traffic = r.Traffic[:3]
	r.WarmUp = nil
	d = estimateDay(r)
	if got := of(Get, 2); got.Requests != 0 {
		t.Errorf("reads: %+v", got)
	}
	if got := of(Part, 9); got.Requests != 4 || got.Sent != 700 {
		t.Errorf("snapshot: %+v", got)
	}
}
