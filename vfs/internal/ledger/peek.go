package ledger

import "github.com/RoaringBitmap/roaring/v2"

// A Peek is what a ledger knows. It is for tests.
type Peek struct {
	Dirty       *roaring.Bitmap
	Floor       uint32 // 0: every page is dirty
	Scanned     uint32
	Size, Least uint32 // of the database, by the commits of this process
	Watches     int
}

// Peek takes no lock, so that a test can look from within a reset, which holds it.
func (l *Ledger) Peek() Peek {
	return Peek{l.dirty, l.floor, l.scanned, l.own.size.Load(), l.own.least.Load(), len(l.watches)}
}
