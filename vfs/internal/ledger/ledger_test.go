package ledger

import (
	"bytes"
	"io"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/RoaringBitmap/roaring/v2"

	"github.com/walvfs/walvfs/format"
	"github.com/walvfs/walvfs/vfs/internal/wal"
)

// walOf returns a WAL with one frame for each page; commits are the sizes in its frames.
func walOf(salt format.Salt, pages []uint32, commits ...uint32) []byte {
	header := format.WALHeader{PageSize: 512, Salt: salt}
	b := header.AppendTo(nil)
	for i, page := range pages {
		f := format.Frame{Page: page, Salt: salt}
		if i < len(commits) {
			f.Commit = commits[i]
		}
		b = append(f.AppendTo(b), make([]byte, 512)...)
	}
	return b
}

func clean(epoch format.Salt, scanned uint32) *Ledger {
	l := newLedger("")
	l.epoch, l.scanned, l.floor = epoch, scanned, 100
	return l
}

func done() error { return nil }

func requireDirty(t *testing.T, l *Ledger, want ...uint32) {
	t.Helper()
	if got := l.dirty.ToArray(); l.all() || !slices.Equal(got, want) {
		t.Errorf("dirty pages are %v (all: %v), want %v", got, l.all(), want)
	}
}

var saltA, saltB = format.Salt{1}, format.Salt{2}

// A checkpoint that truncates resets the WAL index before the WAL. Then the unscanned
// commits of the epoch are in the database file, and only the WAL shows their pages.
func TestBoundaryOfResetIndex(t *testing.T) {
	log := bytes.NewReader(walOf(saltA, []uint32{1, 2, 3, 4}))
	l := clean(saltA, 2)
	if err := l.Scan(log, format.WALIndex{PageSize: 512, Salt: saltB}, &wal.FrameIndex{}); err != nil {
		t.Fatal(err)
	}
	requireDirty(t, l, 3, 4)
}

// The same, but the epoch is another process's: nothing shows the changes.
func TestBoundaryOfUnseenReset(t *testing.T) {
	for name, log := range map[string][]byte{
		"other epoch": walOf(saltB, []uint32{1}),
		"truncated":   nil,
	} {
		t.Run(name, func(t *testing.T) {
			l := clean(saltA, 2)
			if err := l.Scan(bytes.NewReader(log), format.WALIndex{PageSize: 512, Salt: saltB}, &wal.FrameIndex{}); err != nil {
				t.Fatal(err)
			}
			if !l.all() {
				t.Error("no resync")
			}
		})
	}
}

// A reset folds every frame of the epoch, committed or not, and no frame of an older
// epoch.
func TestFold(t *testing.T) {
	log := walOf(saltA, []uint32{1, 2, 3, 4, 5}, 0, 50, 0, 9)
	log = append(log, walOf(saltB, []uint32{6})[format.WALHeaderSize:]...)
	l := clean(saltA, 1)
	l.Reset(bytes.NewReader(log), saltB, done)
	requireDirty(t, l, 2, 3, 4, 5)
	if l.floor != 9 || l.epoch != saltB || l.scanned != 0 {
		t.Errorf("floor %d, epoch %s, %d frames scanned", l.floor, l.epoch, l.scanned)
	}
}

// A reset whose write failed has not happened.
func TestFailedReset(t *testing.T) {
	log := bytes.NewReader(walOf(saltA, []uint32{1, 2, 3}))
	l := clean(saltA, 1)
	if err := l.Reset(log, saltB, func() error { return io.ErrShortWrite }); err != io.ErrShortWrite {
		t.Error(err)
	}
	if l.epoch != saltA || l.scanned != 1 {
		t.Errorf("epoch %s, %d frames scanned", l.epoch, l.scanned)
	}
	requireDirty(t, l, 2, 3)
}

// A reset between two batches of a scan makes the remaining pages dirty.
func TestResetDuringScan(t *testing.T) {
	pages := make([]uint32, scanBatch+10)
	for i := range pages {
		pages[i] = uint32(i + 1)
	}
	log := bytes.NewReader(walOf(saltA, pages))
	to := format.WALIndex{PageSize: 512, Salt: saltA, MxFrame: uint32(len(pages))}
	l, x := clean(saltA, 0), &wal.FrameIndex{}
	if done, err := l.adopt(log, to, x); done || err != nil {
		t.Fatal(done, err)
	}
	if done, err := l.scanSome(log, to, x); done || err != nil {
		t.Fatal(done, err)
	}
	l.Reset(log, saltB, done)
	if done, err := l.scanSome(log, to, x); !done || err != nil {
		t.Fatal(done, err)
	}
	requireDirty(t, l, pages...)
}

// A cut holds every page between the smallest size since the last cut and its own size,
// but neither the lock page nor pages beyond its end.
func TestSet(t *testing.T) {
	lock := format.LockPage(65536)
	for _, test := range []struct {
		name  string
		taken Taken
		nPage uint32
		want  []uint32
	}{
		{"dirty", Taken{roaring.BitmapOf(2, 9), 10}, 10, []uint32{2, 9}},
		{"grown", Taken{roaring.BitmapOf(2), 7}, 10, []uint32{2, 8, 9, 10}},
		{"shrunk", Taken{roaring.BitmapOf(1, 9), 10}, 8, []uint32{1}},
		{"shrunk and regrown", Taken{roaring.BitmapOf(1), 3}, 5, []uint32{1, 4, 5}},
		{"all", Taken{roaring.New(), 0}, 3, []uint32{1, 2, 3}},
		{"lock page", Taken{roaring.BitmapOf(lock), lock - 2}, lock + 1, []uint32{lock - 1, lock + 1}},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := test.taken.Pages(65536, test.nPage).ToArray(); !slices.Equal(got, test.want) {
				t.Errorf("%v, want %v", got, test.want)
			}
		})
	}
}

// Pages written past the WAL are dirty.
func TestDirect(t *testing.T) {
	l := clean(saltA, 0)
	l.pageSize = 512
	l.Direct(512*4, 1024)
	requireDirty(t, l, 5, 6)
	l.DirectTruncate(512 * 3)
	if l.floor != 3 {
		t.Errorf("floor %d", l.floor)
	}
}

// A large cut waits for a reset of the WAL, if the reset comes soon.
func TestAwaitCut(t *testing.T) {
	for _, test := range []struct {
		name  string
		pages uint64
		reset time.Duration // time of the reset, 0 for none
		want  time.Duration
	}{
		{"small", largeCut/512 - 1, time.Millisecond, 0},
		{"large", largeCut / 512, 3 * time.Millisecond, 3 * time.Millisecond},
		{"no reset", largeCut / 512, 0, anewWithin},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := clean(saltA, 0)
				l.pageSize = 512
				l.dirty.AddRange(1, test.pages+1)
				if test.reset > 0 {
					time.AfterFunc(test.reset, func() { l.Reset(bytes.NewReader(walOf(saltA, nil)), saltB, done) })
				}
				start := time.Now()
				l.AwaitCut(t.Context())
				if took := time.Since(start); took != test.want {
					t.Errorf("it waited for %s, not for %s", took, test.want)
				}
				time.Sleep(time.Second)
			})
		})
	}
}
