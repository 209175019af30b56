package shipping

import (
	"slices"

	"github.com/RoaringBitmap/roaring/v2"

	"github.com/walvfs/walvfs/format"
)

// A levelCut is the set of due levels whose files are made from one cut. An encoder is
// taken for them. If they have many pages, these are copied first, while commits
// continue, so that the cut does not hold up the WAL.
type levelCut struct {
	levels []*level
	copied Precopied     // nil for no copy
	ready  chan struct{} // closed when the copy is complete, or cannot be made
}

// askingLevels returns the levels that the next cut makes files for, and the extra pages
// that the cut must hold for them; nil if there are none, or if their pages are still
// being copied.
func (s *Shipper) askingLevels() ([]*level, *Extra) {
	asking := s.levels.asking()
	if len(asking) > 0 && s.levelCut.Load() == nil {
		s.levelCut.Store(s.beginLevelCut(asking))
	}
	c := s.takeLevelCut()
	if c == nil {
		return nil, nil
	}
	s.Look() // other levels may have asked since it began
	c.levels = s.levels.stillAsking(c.levels)
	if len(c.levels) == 0 {
		encoders.Release(1)
		s.closeCopy(c.copied)
		return nil, nil
	}
	return c.levels, &Extra{Pages: s.levels.pages(c.levels), Copied: c.copied}
}

// beginLevelCut begins to copy the pages of levels. It returns nil if no encoder is free.
// Level 0 runs when the copy ends.
func (s *Shipper) beginLevelCut(asking []*level) *levelCut {
	if !encoders.TryAcquire(1) {
		s.levels.refuse(asking, errBusy)
		return nil
	}
	c := &levelCut{levels: asking, ready: make(chan struct{})}
	copied, err := s.source.Precopy(func() *roaring.Bitmap { return s.levels.pages(asking) })
	if copied == nil || err != nil {
		s.cannotCopy(err)
		close(c.ready)
		return c
	}
	copying := s.queue.goes(func() {
		if err := copied.Copy(s.queue.ctx); err != nil {
			s.cannotCopy(err)
			s.closeCopy(copied)
		} else {
			c.copied = copied
		}
		close(c.ready)
		if s.queue.ctx.Err() != nil { // no job takes the copy any more
			s.dropLevelCut()
		}
		s.raw.due(s.soonest())
	})
	if !copying {
		s.closeCopy(copied)
		close(c.ready)
	}
	return c
}

// readyLevelCut returns the levels whose pages are copied and that hold an encoder, nil
// if there are none.
func (s *Shipper) readyLevelCut() *levelCut {
	c := s.levelCut.Load()
	if c == nil {
		return nil
	}
	select {
	case <-c.ready:
		return c
	default:
		return nil
	}
}

// takeLevelCut is readyLevelCut for a caller that takes the levels over.
func (s *Shipper) takeLevelCut() *levelCut {
	c := s.readyLevelCut()
	if c == nil || !s.levelCut.CompareAndSwap(c, nil) {
		return nil
	}
	return c
}

// dropLevelCut gives up a finished copy. An unfinished copy stays.
func (s *Shipper) dropLevelCut() {
	if c := s.takeLevelCut(); c != nil {
		encoders.Release(1)
		s.closeCopy(c.copied)
	}
}

// cannotCopy logs why there is no copy. A nil error means that none is needed.
func (s *Shipper) cannotCopy(err error) {
	if err != nil && s.ctx.Err() == nil {
		s.log.Debug("copying the pages of a level file ahead of its cut failed", "error", err)
	}
}

// closeCopy closes a copy; nil is no copy.
func (s *Shipper) closeCopy(copied Precopied) {
	if copied == nil {
		return
	}
	if err := copied.Close(); err != nil {
		s.log.Warn("removing a temporary file failed", "error", err)
	}
}

// stillAsking returns the levels of a set that still wait for a file.
func (l *levels) stillAsking(of []*level) []*level {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.DeleteFunc(of, func(v *level) bool { return v.cut != nil || v.asked == nil || v.since.IsZero() })
}

// pages returns the pages that the next files of levels hold, nil for every page.
func (l *levels) pages(of []*level) *roaring.Bitmap {
	l.mu.Lock()
	defer l.mu.Unlock()
	pages := roaring.New()
	for _, v := range of {
		if v.number == format.LevelSnapshot {
			return nil
		}
		pages.Or(v.pages)
	}
	return pages
}
