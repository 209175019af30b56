package restore

import (
	"errors"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/superfly/ltx"

	"github.com/walvfs/walvfs/format"
	"github.com/walvfs/walvfs/shipper/replica"
)

// Every restorable TXID is the database as it was then, whatever files of whatever levels
// lead to it.
func TestPrefix(t *testing.T) {
	s := newSource(t)
	s.random(60)
	s.ship(1, 5, 9)
	s.ship(1, 10, 14)
	s.ship(2, 5, 14)
	s.ship(1, 12, 18) // overlaps
	s.ship(format.LevelSnapshot, 1, 20)
	s.ship(1, 21, 40)
	s.ship(2, 18, 30)
	for txid := format.TXID(6); txid < 30; txid++ {
		s.drop(format.LevelRaw, txid, txid)
	}
	files, err := replica.All(t.Context(), s.store)
	if err != nil {
		t.Fatal(err)
	}
	points := files.Restorable()
	if len(points) < 30 {
		t.Fatalf("only %d TXIDs can be restored", len(points))
	}
	for _, txid := range points {
		r := restoreAs(t, s, Options{TXID: txid}, s.images[txid])
		if r.TXID != txid || r.Pages != s.pages(txid) || !r.Time.Equal(s.time(txid)) {
			t.Fatalf("result is %+v for TXID %s", r, txid)
		}
	}
}

func TestNewest(t *testing.T) {
	s := smallReplica(t)
	var total int64
	for _, key := range []string{s.ship(format.LevelSnapshot, 1, 2), s.ship(0, 3, 3), s.ship(0, 4, 4), s.ship(0, 5, 5)} {
		total += int64(len(s.store.objects[key]))
	}
	var last Progress
	r := restoreAs(t, s, Options{Progress: func(p Progress) { last = p }}, s.images[smallTip])
	if r.Duration <= 0 {
		t.Errorf("duration is %s", r.Duration)
	}
	if r.Checksum == 0 || r.Newest != smallTip {
		t.Errorf("result is %+v", r)
	}
	r.Duration, r.Checksum, r.Newest = 0, 0, 0
	if want := (Result{TXID: smallTip, Time: s.time(smallTip), PageSize: testPageSize, Pages: 6, Files: smallFiles, Bytes: total}); r != want {
		t.Errorf("result is %+v, want %+v", r, want)
	}
	if want := (Progress{TXID: smallTip, Files: smallFiles, Bytes: total, TotalFiles: smallFiles, TotalBytes: total}); last != want {
		t.Errorf("last progress is %+v, want %+v", last, want)
	}
}

func TestLayouts(t *testing.T) {
	for _, layout := range []format.Layout{format.LayoutHex, format.LayoutDecimal} {
		s := newSource(t)
		s.store.layout = layout
		s.random(5)
		s.store.objects["0000/readme.txt"] = []byte("not ours")
		s.store.objects["ltx/12/x"] = []byte("not ours")
		restoreAs(t, s, Options{}, s.images[5])
	}
}

func TestTimestamp(t *testing.T) {
	s := newSource(t)
	s.random(8)
	s.ship(1, 3, 5)
	s.drop(0, 3, 3)
	s.drop(0, 4, 4)
	for _, c := range []struct {
		at   time.Time
		want format.TXID
	}{
		{s.time(1), 1},
		{s.time(2).Add(-time.Millisecond), 1},
		{s.time(2), 2},
		{s.time(4), 2}, // 3 and 4 no longer have a file of their own
		{s.time(5), 5},
		{s.time(100), 8},
	} {
		r := restoreAs(t, s, Options{Timestamp: c.at}, s.images[c.want])
		if r.TXID != c.want {
			t.Errorf("at %s: TXID %s, want %s", c.at, r.TXID, c.want)
		}
	}
}

func TestTimestampReadsHeadersOnly(t *testing.T) {
	s := newSource(t)
	s.commit(1000)
	for range 99 {
		s.commit(1000, 1)
	}
	files, err := replica.All(t.Context(), s.store)
	if err != nil {
		t.Fatal(err)
	}
	txid, err := Options{Logger: discard}.read(s.store).TXIDAt(t.Context(), files, s.time(3))
	if err != nil || txid != 3 {
		t.Fatalf("TXID %s, %v", txid, err)
	}
	if len(s.store.asked) > 31 { // of 100, in two rounds
		t.Errorf("%d requests", len(s.store.asked))
	}
	for _, n := range s.store.asked {
		if n != format.LTXHeaderSize {
			t.Errorf("asked for %d bytes", n)
		}
	}
}

func TestEmptyDatabase(t *testing.T) {
	s := newSource(t)
	var b strings.Builder
	enc, err := ltx.NewEncoder(&b)
	if err != nil {
		t.Fatal(err)
	}
	err = errors.Join(
		enc.EncodeHeader(ltx.Header{Version: ltx.Version, PageSize: testPageSize, MinTXID: 1, MaxTXID: 1, Timestamp: 1}),
		setPostApply(enc),
		enc.Close())
	if err != nil {
		t.Fatal(err)
	}
	s.store.objects[s.store.layout.Key(0, 1, 1)] = []byte(b.String())
	r := restoreAs(t, s, Options{}, nil)
	if r.TXID != 1 || r.Pages != 0 {
		t.Errorf("result is %+v", r)
	}
}

func setPostApply(enc *ltx.Encoder) error {
	enc.SetPostApplyChecksum(ltx.ChecksumFlag)
	return nil
}

// A page size can change only with a file that holds the whole database.
func TestPageSizeChange(t *testing.T) {
	s := newSource(t)
	s.random(3)
	s.pageSize = 1024
	s.images = map[format.TXID][]byte{}
	s.commit(2) // both pages
	restoreAs(t, s, Options{}, s.images[4])
	s.commit(3, 1)
	restoreAs(t, s, Options{}, s.images[5])

	whole := s.store.objects[s.store.layout.Key(0, 4, 4)]
	s.store.objects[s.store.layout.Key(0, 4, 4)] = s.encode(4, 4, []uint32{2})
	if err := mustFail(t, s, Options{}); !errors.Is(err, format.ErrCorrupt) ||
		!strings.Contains(err.Error(), "4-0000000000000004.ltx") ||
		!strings.Contains(err.Error(), "page size is 1024, the database's is 512, and it does not hold the whole") {
		t.Errorf("error is %v", err)
	}
	s.store.objects[s.store.layout.Key(0, 4, 4)] = whole
	s.ship(format.LevelSnapshot, 1, 4)
	restoreAs(t, s, Options{}, s.images[5])

	// If a whole database comes after other files, none of their pages remain.
	files := []format.FileInfo{info(s, 0, 1, 1), info(s, 9, 1, 4), info(s, 0, 5, 5)}
	out := filepath.Join(t.TempDir(), "app.db")
	f, err := os.Create(out)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	opts := Options{Parallelism: 1, Logger: discard}
	if _, err := applyPlan(t.Context(), opts.read(s.store), replica.Plan{Apply: files}, newDatabase(f, out), opts); err != nil {
		t.Fatal(err)
	}
	checkFile(t, out, s.images[5])
}

func info(s *source, level int, lo, hi format.TXID) format.FileInfo {
	f := format.FileInfo{Level: level, MinTXID: lo, MaxTXID: hi}
	f.Size = int64(len(s.store.objects[s.store.layout.Key(level, lo, hi)]))
	return f
}

// The lock page is in no file, so checkChain does not require it.
func TestLockPage(t *testing.T) {
	lock := format.LockPage(4096)
	for _, c := range []struct {
		before, pages, whole uint32 // the last: from which page on the file has all pages
		ok                   bool
	}{
		{10, 12, 11, true},
		{10, 12, 12, false},
		{10, 4, 5, true},
		{lock - 2, lock - 1, lock - 1, true},
		{lock - 2, lock - 1, lock, false},
		{lock - 1, lock, lock + 1, true},
		{lock - 1, lock + 1, lock + 1, true},
		{lock - 1, lock + 1, lock + 2, false},
		{lock - 2, lock + 1, lock + 1, false},
		{lock, lock + 2, lock + 1, true},
		{lock, lock + 2, lock + 2, false},
	} {
		before := &file{header: format.LTXHeader{PageSize: 4096, MinTXID: 1, Commit: c.before}}
		f := &file{header: format.LTXHeader{PageSize: 4096, MinTXID: 2, Commit: c.pages}, whole: c.whole}
		if err := f.follows(before); (err == nil) != c.ok {
			t.Errorf("from %d to %d pages with those from %d on: %v", c.before, c.pages, c.whole, err)
		}
	}
}

func TestNoReplica(t *testing.T) {
	s := newSource(t)
	s.store.objects["0000/readme.txt"] = []byte("not ours")
	if err := mustFail(t, s, Options{}); !errors.Is(err, ErrNoReplica) {
		t.Errorf("error is %v", err)
	}
}

// A backup that walvfs cannot read does not count as a missing replica.
func TestNoReplicaIsProven(t *testing.T) {
	for key, want := range map[string]string{
		"generations/b16ddcf5c697540f/snapshots/00000000.snapshot.lz4": "Litestream before 0.5",
		"ltx/0/0000000000000001-0000000000000001.ltx":                  "corrupt", // read, and empty
	} {
		s := newSource(t)
		s.store.objects[key] = nil
		err := mustFail(t, s, Options{})
		if errors.Is(err, ErrNoReplica) || !strings.Contains(err.Error(), want) {
			t.Errorf("with %s the error is %v, want %q in it", key, err, want)
		}
	}
}

func TestUnreachable(t *testing.T) {
	for _, c := range []struct {
		name string
		opts Options
		want string
	}{
		{"beyond the newest", Options{TXID: 9}, "TXID 0000000000000009 is beyond the newest one"},
		{"before the oldest", Options{Timestamp: firstCommit.Add(-time.Second)}, "is before the oldest state"},
		{"both", Options{TXID: 1, Timestamp: firstCommit}, "a TXID and a timestamp exclude each other"},
	} {
		t.Run(c.name, func(t *testing.T) {
			err := mustFail(t, smallReplica(t), c.opts)
			if !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), "mem://replica") {
				t.Errorf("error is %v, want %q", err, c.want)
			}
		})
	}
}

func TestGap(t *testing.T) {
	s := smallReplica(t)
	s.drop(0, 4, 4)
	err := mustFail(t, s, Options{})
	if gap, ok := errors.AsType[*format.GapError](err); !ok || gap.Missing != 4 {
		t.Errorf("error is %v", err)
	}
}

func TestObjectsAreReadOnce(t *testing.T) {
	s := smallReplica(t)
	restoreAs(t, s, Options{Parallelism: 2}, s.images[smallTip])
	opened := slices.Sorted(slices.Values(s.store.opens))
	if len(slices.Compact(slices.Clone(opened))) != smallFiles || len(opened) != smallFiles {
		t.Errorf("opened %q of %q", opened, slices.Sorted(maps.Keys(s.store.objects)))
	}
}
