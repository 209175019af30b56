package vfs

import (
	"context"
	"errors"
	"math"
	"path/filepath"
	"time"

	"github.com/RoaringBitmap/roaring/v2"

	"github.com/walvfs/walvfs/format"
	"github.com/walvfs/walvfs/internal/shipping"
	"github.com/walvfs/walvfs/vfs/internal/ledger"
	"github.com/walvfs/walvfs/vfs/internal/wal"
)

// largeCut is the most that a cut reads under its mark, in bytes of pages. A WAL under
// constant writes grows as long as the read takes, so a larger cut is copied first.
var largeCut int64 = 4 << 20

// sliceTime is how long a slice of a copy holds its mark. A writer that never pauses
// fills the WAL up to its next checkpoint in some 20 ms.
var sliceTime = 8 * time.Millisecond

const (
	// sliceBytes is the size of a slice, in bytes of pages. With 4 MiB, a copy does not
	// keep up with a writer that never pauses.
	sliceBytes = 16 << 20

	// copyRounds is how often a copy copies pages again that changed after their slice.
	copyRounds = 4

	// copyEnough is how many bytes of such pages a copy leaves to the cut.
	copyEnough = 1 << 20
)

// A precopy copies pages of a database ahead of the cut that needs them, as live
// migration copies a running virtual machine's memory. Each slice has its own mark and
// boundary, so that checkpoints and resets of the WAL continue between two slices. The
// cut reads pages again that were written since.
type precopy struct {
	db     *database
	pages  func() *roaring.Bitmap // nil for every page
	watch  *ledger.Watch
	copy   *wal.Copy
	frames wal.FrameIndex
	change uint32 // the WAL index's count of commits at the newest slice, or at the beginning
}

var _ shipping.Precopied = (*precopy)(nil)

// Precopy implements [shipping.Source].
func (d *database) Precopy(pages func() *roaring.Bitmap) (shipping.Precopied, error) {
	c, err := d.newPrecopy(pages)
	if c == nil || err != nil {
		return nil, err
	}
	return c, nil
}

// newPrecopy begins a copy. It returns nil if the pages are so few that a cut can read
// them itself.
func (d *database) newPrecopy(pages func() *roaring.Bitmap) (*precopy, error) {
	at, err := d.boundary()
	if err != nil || at.NPage == 0 {
		return nil, err
	}
	size := int64(d.needed(pages, at).GetCardinality()) * int64(at.PageSize)
	if size <= largeCut {
		return nil, nil
	}
	file, err := wal.NewCopy(filepath.Dir(d.path), at.PageSize, size)
	if err != nil {
		return nil, err
	}
	return &precopy{db: d, pages: pages, watch: d.ledger.Watch(), copy: file, change: at.Change}, nil
}

// boundary returns the end of the newest commit, zero if the database is still empty.
func (d *database) boundary() (at format.WALIndex, err error) {
	d.connMu.Lock()
	defer d.connMu.Unlock()
	if ok, err := d.connectWAL(); !ok || err != nil {
		return at, err
	}
	if at, err = wal.Boundary(d.shm); err != nil {
		return at, err
	}
	return d.complete(at)
}

// needed returns the pages of the next cut if it also holds the given pages.
func (d *database) needed(pages func() *roaring.Bitmap, at format.WALIndex) *roaring.Bitmap {
	return withExtra(d.ledger.Lacks(at.PageSize, at.NPage), pages(), at)
}

// withExtra adds pages to those of a cut, nil for all pages at its boundary.
func withExtra(cut, extra *roaring.Bitmap, at format.WALIndex) *roaring.Bitmap {
	all := roaring.New()
	if extra == nil {
		all.AddRange(1, uint64(at.NPage)+1)
	} else {
		all = roaring.Or(cut, extra)
		all.RemoveRange(uint64(at.NPage)+1, 1<<32)
	}
	return all
}

// Copy implements [shipper.Precopied].
func (c *precopy) Copy(ctx context.Context) error {
	last := uint64(math.MaxUint64)
	for range copyRounds {
		at, err := c.db.boundary()
		if err != nil {
			return err
		}
		stale := c.watch.Stale(c.db.needed(c.pages, at))
		left := stale.GetCardinality()
		if left >= last || int64(left)*int64(at.PageSize) <= min(copyEnough, largeCut) {
			return nil
		}
		last = left
		if err := c.round(ctx, stale); err != nil {
			return err
		}
	}
	return nil
}

// round copies pages once.
func (c *precopy) round(ctx context.Context, pages *roaring.Bitmap) error {
	return inBatches(pages, c.copy.PageSize, func(pages []uint32) (int, error) {
		c.awaitAnew(ctx)
		if ctx.Err() != nil {
			return 0, context.Cause(ctx)
		}
		return c.slice(pages)
	})
}

// inBatches calls take with some of the pages at a time. The next call gets the pages
// that take did not take.
func inBatches(pages *roaring.Bitmap, pageSize uint32, take func(pages []uint32) (int, error)) error {
	next, batch := pages.ManyIterator(), make([]uint32, min(pages.GetCardinality(), uint64(sliceBytes/pageSize)))
	for n := 0; ; {
		if n += next.NextMany(batch[n:]); n == 0 {
			return nil
		}
		took, err := take(batch[:n])
		if err != nil {
			return err
		}
		n = copy(batch, batch[took:n])
	}
}

// awaitAnew waits a moment for a reset of the WAL, so that the slice ends before the next
// checkpoint. It does not wait if there are no new commits.
func (c *precopy) awaitAnew(ctx context.Context) {
	if at, ok := c.db.ledger.Boundary(); ok && at.Change != c.change {
		c.db.ledger.AwaitAnew(ctx)
	}
}

// slice copies some of the first pages, and returns how many.
func (c *precopy) slice(pages []uint32) (n int, err error) {
	var s *wal.Snapshot
	here := 0
	c.db.connMu.Lock()
	mark, err := c.db.underMark(func() (err error) {
		s, here, err = c.beginSlice(pages)
		return err
	})
	c.db.connMu.Unlock()
	if mark == nil || err != nil {
		return len(pages), err
	}
	n, err = c.copy.Take(s, pages[:here], time.Now().Add(sliceTime))
	err = errors.Join(err, c.db.endMark(mark))
	c.watch.Missed(pages[n:here])
	if here < len(pages) && n == here {
		n = len(pages) // the database no longer has these pages
	}
	return n, err
}

var errPageSizeChanged = errors.New("the page size changed during a copy")

// beginSlice begins a slice at a boundary, at which the database may have only the first
// of the pages. It needs d.connMu, so that no cut scans the WAL meanwhile.
func (c *precopy) beginSlice(pages []uint32) (s *wal.Snapshot, here int, err error) {
	d := c.db
	resets := d.ledger.Resets()
	at, err := wal.Boundary(d.shm)
	if err == nil {
		at, err = d.complete(at)
	}
	if err != nil {
		return nil, 0, err
	}
	if at.PageSize != c.copy.PageSize {
		return nil, 0, errPageSizeChanged
	}
	if err := d.ledger.Scan(d.wal, at, &c.frames); err != nil {
		return nil, 0, err
	}
	for here = len(pages); here > 0 && pages[here-1] > at.NPage; here-- {
	}
	s = &wal.Snapshot{At: at, Newest: c.frames.Newest, WAL: d.wal, Main: d.main}
	if err := s.Begin(); err != nil {
		return nil, 0, err
	}
	if !c.watch.Copying(pages[:here], at, resets) {
		return nil, 0, wal.ErrMoved
	}
	c.change = at.Change
	return s, here, nil
}

// Close implements [shipper.Precopied].
func (c *precopy) Close() error {
	c.watch.Close()
	return c.copy.Close()
}
