package ledger

import (
	"slices"

	"github.com/RoaringBitmap/roaring/v2"

	"github.com/walvfs/walvfs/format"
)

// A Watch tracks which pages of a copy still equal the database. The copy is made ahead
// of a cut, in slices that have a boundary each:
//
//	slice    Resets ─ boundary ─ Scan ─ Copying(pages) ─ read
//	ledger   a frame, a smaller size, a write past the WAL, a reset by others ─▶ stale
//	cut      boundary ─ Scan ─ Stale(pages) ─ read them again
//
// A frame that is never committed makes its page stale, too, which is harmless.
type Watch struct {
	l       *Ledger
	current *roaring.Bitmap // pages without a write since their slice; l.mu guards it
}

// Watch begins a watch of a copy that has no pages. It ends with [Watch.Close].
func (l *Ledger) Watch() *Watch {
	l.mu.Lock()
	defer l.mu.Unlock()
	w := &Watch{l: l, current: roaring.New()}
	l.watches = append(l.watches, w)
	return w
}

// Close ends the watch.
func (w *Watch) Close() {
	w.l.mu.Lock()
	defer w.l.mu.Unlock()
	w.l.watches = slices.DeleteFunc(w.l.watches, func(other *Watch) bool { return other == w })
}

// Resets counts the resets that this process made. Pass the count from before the
// boundary was read to [Watch.Copying].
func (l *Ledger) Resets() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.resetsMade
}

// Copying notes that pages are about to be read at a boundary that [Ledger.Scan] has
// reached. It reports false, and changes nothing, unless the ledger is at the boundary:
// the ledger does not note changes again that it noted beyond the boundary. Then the
// slice needs another boundary.
func (w *Watch) Copying(pages []uint32, at format.WALIndex, resets int) bool {
	l := w.l
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.resetsMade != resets || l.scanned != at.MxFrame {
		return false
	}
	w.current.AddMany(pages)
	return true
}

// Missed notes that pages were not read after all.
func (w *Watch) Missed(pages []uint32) {
	w.l.mu.Lock()
	defer w.l.mu.Unlock()
	for _, page := range pages {
		w.current.Remove(page)
	}
}

// Stale returns the pages of a set whose copies may differ from the database: a cut at a
// boundary that [Ledger.Scan] has reached must read them.
func (w *Watch) Stale(pages *roaring.Bitmap) *roaring.Bitmap {
	w.l.mu.Lock()
	defer w.l.mu.Unlock()
	return roaring.AndNot(pages, w.current)
}

// follows reports whether the ledger must track which pages change. l.mu must be held.
func (l *Ledger) follows() bool { return !l.all() || len(l.watches) > 0 }

// sized notes that the database had so many pages. Pages beyond them may come back
// without a frame. l.mu must be held.
func (l *Ledger) sized(pages uint32) {
	l.floor = min(l.floor, pages)
	for _, w := range l.watches {
		w.current.RemoveRange(uint64(pages)+1, 1<<32)
	}
}

// lost makes every copy stale: the ledger missed a write. l.mu must be held.
func (l *Ledger) lost() {
	for _, w := range l.watches {
		w.current.Clear()
	}
}
