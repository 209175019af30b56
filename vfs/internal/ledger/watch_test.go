package ledger

import (
	"bytes"
	"errors"
	"io"
	"slices"
	"testing"

	"github.com/RoaringBitmap/roaring/v2"

	"github.com/walvfs/walvfs/format"
	"github.com/walvfs/walvfs/vfs/internal/wal"
)

// A watched ledger follows a WAL, and a copy of pages 1 to 100.
type watched struct {
	*Ledger
	t     *testing.T
	watch *Watch
	log   []byte
}

// watch returns a ledger at the end of a WAL of two commits, of pages 1 and 2.
func watch(t *testing.T) *watched {
	w := &watched{Ledger: clean(saltA, 0), t: t, log: walOf(saltA, []uint32{1, 2}, 100, 100)}
	w.pageSize = 512
	w.watch = w.Watch()
	if !w.slice(w.Resets(), 2) {
		t.Fatal("the ledger is not where the boundary is")
	}
	w.requireStale()
	return w
}

// slice scans to a boundary, and copies all pages.
func (w *watched) slice(resets int, frames uint32) bool {
	w.t.Helper()
	w.scan(frames)
	pages := make([]uint32, 100)
	for i := range pages {
		pages[i] = uint32(i + 1)
	}
	return w.watch.Copying(pages, w.at(frames), resets)
}

func (w *watched) at(frames uint32) format.WALIndex {
	salt, _, _ := wal.Salt(bytes.NewReader(w.log))
	return format.WALIndex{PageSize: 512, Salt: salt, MxFrame: frames, NPage: 100}
}

func (w *watched) scan(frames uint32) {
	w.t.Helper()
	if err := w.Scan(bytes.NewReader(w.log), w.at(frames), &wal.FrameIndex{}); err != nil {
		w.t.Fatal(err)
	}
}

// commit appends frames of pages. The last frame sets the size of the database.
func (w *watched) commit(size uint32, pages ...uint32) {
	salt, _, _ := wal.Salt(bytes.NewReader(w.log))
	sizes := make([]uint32, len(pages))
	sizes[len(pages)-1] = size
	w.log = append(w.log, walOf(salt, pages, sizes...)[format.WALHeaderSize:]...)
}

// reset restarts the WAL, as this process does it.
func (w *watched) reset(next format.Salt) {
	w.t.Helper()
	if err := w.Reset(bytes.NewReader(w.log), next, done); err != nil {
		w.t.Fatal(err)
	}
	w.log = walOf(next, nil)
}

// requireStale fails unless exactly these pages of the copy are stale.
func (w *watched) requireStale(want ...uint32) {
	w.t.Helper()
	all := roaring.New()
	all.AddRange(1, 101)
	if got := w.watch.Stale(all).ToArray(); !slices.Equal(got, want) {
		w.t.Errorf("stale are %v, want %v", got, want)
	}
}

func (w *watched) requireAllStale() {
	w.t.Helper()
	all := roaring.New()
	all.AddRange(1, 101)
	w.requireStale(all.ToArray()...)
}

// Pages committed after a slice are stale, whether a scan finds the commit or a reset
// does.
func TestWatchFrames(t *testing.T) {
	w := watch(t)
	w.commit(100, 7, 8)
	w.requireStale() // the commit is not scanned yet
	w.scan(4)
	w.requireStale(7, 8)
	w.commit(100, 9)
	w.reset(saltB)
	w.requireStale(7, 8, 9)
	w.commit(100, 10)
	w.scan(1)
	w.requireStale(7, 8, 9, 10)
}

// While every page is dirty, the watch still tracks which pages change.
func TestWatchWhileAllIsDirty(t *testing.T) {
	w := watch(t)
	w.NeedAll("")
	w.commit(100, 7)
	w.reset(saltB)
	w.requireStale(7)
}

// A reset between a slice's boundary and its pages has noted the commits in between: the
// slice must find another boundary.
func TestWatchResetDuringSlice(t *testing.T) {
	w := watch(t)
	resets, before := w.Resets(), w.log
	w.commit(100, 7)
	w.reset(saltB)
	w.log = before // the boundary was read here
	pages, at := []uint32{7, 8}, w.at(2)
	if w.watch.Copying(pages, at, resets) {
		t.Error("a slice of the epoch before")
	}
	// The same, but the new epoch is as long as the boundary says.
	w = watch(t)
	w.reset(saltB)
	w.commit(100, 7, 8)
	w.scan(2)
	w.requireStale(7, 8)
	if at := w.at(2); w.watch.Copying(pages, at, resets) || !w.watch.Copying(pages, at, w.Resets()) {
		t.Error("a slice is judged by its boundary alone")
	}
	w.requireStale()
}

// A scan beyond a slice's boundary has noted pages that the slice does not have.
func TestWatchScanDuringSlice(t *testing.T) {
	w := watch(t)
	resets := w.Resets()
	w.commit(100, 7)
	w.scan(3)
	if w.watch.Copying([]uint32{7}, w.at(2), resets) {
		t.Error("a slice at a boundary that a cut has passed")
	}
	w.requireStale(7)
}

// Pages that a smaller database did not have may come back without a frame.
func TestWatchShrinkAndRegrowth(t *testing.T) {
	shrink := func(w *watched) {
		w.commit(97, 1)
		w.commit(100, 2)
	}
	w := watch(t)
	shrink(w)
	w.scan(4)
	w.requireStale(1, 2, 98, 99, 100)

	w = watch(t)
	shrink(w)
	w.reset(saltB)
	w.requireStale(1, 2, 98, 99, 100)

	// A checkpoint truncates the file to its current size.
	w = watch(t)
	w.DirectTruncate(100 * 512)
	w.requireStale()
	w.DirectTruncate(98 * 512)
	w.requireStale(99, 100)

	// The WAL index lists no sizes: this process's commits do.
	w = watch(t)
	w.Attach(indexOf(saltA, 2, 100, 7, 512))
	w.beginTally()
	shrink(w)
	w.Sized(97)
	w.Sized(100)
	w.index = indexOf(saltB, 0, 100, 7, 512, 1, 2, 1, 2)
	w.reset(saltB)
	w.requireStale(1, 2, 98, 99, 100)
}

// After a reset by another process, the changes are unknown.
func TestWatchForeignReset(t *testing.T) {
	w := watch(t)
	w.log = walOf(saltB, []uint32{5}, 100)
	w.scan(1)
	w.requireAllStale()

	w = watch(t)
	w.NeedAll("") // the reset must still be noticed
	w.log = walOf(saltB, []uint32{5}, 100)
	w.scan(1)
	w.requireAllStale()

	w = watch(t)
	w.log = walOf(saltB, []uint32{5}, 100)
	w.reset(format.Salt{3})
	w.requireAllStale()
}

// The same holds if the WAL is unreadable, or does not hold every write.
func TestWatchIsLost(t *testing.T) {
	for name, lose := range map[string]func(w *watched){
		"unreadable":   func(w *watched) { w.Reset(broken{errors.New("no")}, saltB, done) },
		"frames":       func(w *watched) { w.Reset(brokenFrames{bytes.NewReader(w.log)}, saltB, done) },
		"direct write": func(w *watched) { w.Direct(0, 512) },
		"page size":    func(w *watched) { w.SetPageSize(1024, 0) },
	} {
		t.Run(name, func(t *testing.T) {
			w := watch(t)
			w.commit(100, 7)
			lose(w)
			w.requireAllStale()
		})
	}
}

// brokenFrames is a WAL of which only the header can be read.
type brokenFrames struct{ io.ReaderAt }

func (b brokenFrames) ReadAt(p []byte, off int64) (int, error) {
	if off > 0 {
		return 0, errors.New("no")
	}
	return b.ReaderAt.ReadAt(p, off)
}

// A closed watch notes nothing.
func TestWatchClose(t *testing.T) {
	w := watch(t)
	other := w.Watch()
	w.watch.Close()
	w.commit(100, 7)
	w.scan(3)
	w.requireStale()
	other.Close()
	if len(w.watches) > 0 {
		t.Error("a watch is left")
	}
}

// Pages that a slice had no time for are stale.
func TestWatchMissed(t *testing.T) {
	w := watch(t)
	w.watch.Missed([]uint32{7, 50})
	w.requireStale(7, 50)
}
