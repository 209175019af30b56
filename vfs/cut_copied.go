package vfs

import (
	"context"
	"math"
	"time"

	"github.com/RoaringBitmap/roaring/v2"

	"github.com/walvfs/walvfs/internal/shipping"
)

// cutTries is how often a cut begins again after its pages were copied: it may have
// become large meanwhile.
const cutTries = 2

// cutCopied begins a cut that reads only the pages that its copy lacks, and then releases
// its mark. If the cut is large, cutCopied copies its pages first, and begins it again.
func (d *database) cutCopied(ctx context.Context, extra *shipping.Extra) (k *cut, err error) {
	var c *precopy
	if extra != nil {
		c, _ = extra.Copied.(*precopy)
	}
	for try := 0; ; try++ {
		if k, err = d.beginCut(extra); k == nil || err != nil {
			c.discard()
			return nil, err
		}
		if c != nil && c.copy.PageSize != k.info.PageSize {
			c.discard()
			c = nil
		}
		// If the extra pages have no copy, none could be made, or none was needed.
		if try == cutTries || extra != nil && c == nil || k.left(c) <= largeCut {
			k.use(c)
			return k, nil
		}
		if err = k.undo(); err != nil {
			c.discard()
			return nil, err
		}
		if c, err = d.recopy(ctx, c); err != nil {
			d.log.Debug("copying the pages of a large cut failed", "error", err)
			try = cutTries - 1
		}
	}
}

// left returns how many bytes of pages the cut still reads under its mark.
func (k *cut) left(c *precopy) int64 {
	pages := k.read
	if c != nil {
		pages = c.watch.Stale(k.read)
	}
	return int64(pages.GetCardinality()) * int64(k.info.PageSize)
}

// recopy copies the pages that a copy lacks, or begins a copy. If it fails, it discards
// the copy.
func (d *database) recopy(ctx context.Context, c *precopy) (*precopy, error) {
	if c == nil {
		var err error
		if c, err = d.newPrecopy(func() *roaring.Bitmap { return roaring.New() }); c == nil || err != nil {
			return nil, err
		}
	}
	if err := c.Copy(ctx); err != nil {
		c.discard()
		return nil, err
	}
	return c, nil
}

// use makes a cut read from a copy, nil for none. It reads stale pages under the mark,
// and then ends the mark. If that fails, the cut reads all pages under the mark.
func (k *cut) use(c *precopy) {
	if c == nil {
		return
	}
	if err := c.finish(k); err != nil {
		k.db.log.Debug("copying the rest of a cut's pages failed", "error", err)
		c.discard()
		return
	}
	c.watch.Close()
	k.copy = c.copy
	k.ReadMain = true // the WAL that a slice read may have been checkpointed since
	mark := k.mark
	k.mark = nil
	if err := k.db.endMark(mark); err != nil {
		k.db.log.Warn("releasing a read mark failed", "error", err) // it is closed
	}
}

// finish copies the pages that are stale at the boundary of a cut.
func (c *precopy) finish(k *cut) error {
	never := time.Now().Add(math.MaxInt64)
	return inBatches(c.watch.Stale(k.read), c.copy.PageSize, func(pages []uint32) (int, error) {
		return c.copy.Take(&k.Snapshot, pages, never)
	})
}

// discard closes a copy, nil for none.
func (c *precopy) discard() {
	if c == nil {
		return
	}
	if err := c.Close(); err != nil {
		c.db.log.Warn("removing a temporary file failed", "error", err)
	}
}
