package ledger

import "github.com/RoaringBitmap/roaring/v2"

// A Peek is a ledger's state, for tests.
type Peek struct {
	Dirty       *roaring.Bitmap
	Floor       uint32 // 0: every page is dirty
	Scanned     uint32
	Size, Least uint32 // of the database, by the commits of this process
	Watches     int
}

// Peek takes no lock, so that a test can call it during a reset, which holds the lock.
func (l *Ledger) Peek() Peek {
	return Peek{l.dirty, l.floor, l.scanned, l.own.size.Load(), l.own.least.Load(), len(l.watches)}
}
