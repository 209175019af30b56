package ledger

import (
	"encoding/binary"
	"io"

	"github.com/walvfs/walvfs/format"
	"github.com/walvfs/walvfs/vfs/internal/wal"
)

// folded is an epoch all of whose frames are dirty, at a number of commits: folding the
// epoch again would make shipped pages dirty.
type folded struct {
	known  bool
	epoch  format.Salt
	change uint32 // the index's commit counter
}

// foldedAt reports whether the epoch was folded to its end, and no commit came since.
// l.mu must be held.
func (l *Ledger) foldedAt(change uint32) bool {
	return l.folded == folded{true, l.epoch, change}
}

// foldedToEnd is foldedAt for the current count. l.mu must be held.
func (l *Ledger) foldedToEnd() bool {
	if l.index == nil {
		return false
	}
	at, err := wal.Boundary(l.index)
	return err == nil && l.foldedAt(at.Change)
}

// fold makes dirty every page that has an unscanned frame in the epoch, committed or not:
// which frames are committed is not known here, and a page too many is harmless. l.mu
// must be held.
func (l *Ledger) fold(log io.ReaderAt, pageSize uint32) {
	if l.epoch.IsZero() || !l.follows() {
		return
	}
	var b [format.FrameHeaderSize]byte
	for n := l.scanned + 1; ; n++ {
		_, err := log.ReadAt(b[:], format.FrameOffset(pageSize, n))
		if err == io.EOF {
			return
		}
		if err != nil {
			l.resync("the WAL cannot be read: " + err.Error())
			return
		}
		// Committed frames have the epoch's salts. The first frame without them remains
		// from an epoch before, or from a spill that never became a commit, which has
		// zeros: no committed frame follows it.
		f := format.ParseFrame(b[:])
		if f.Salt != l.epoch {
			return
		}
		l.note(n, f)
	}
}

// foldIndex is fold from the WAL index, which lists the page of each frame: one read
// instead of a thousand. The index does not list the sizes that commits made. If a commit
// may be another process's, foldIndex does nothing and reports false. Sizes of the epoch
// that a cut has seen count again: a few pages too many are harmless.
//
// It must be called by a writer that restarts the WAL: until the first frame, the index
// still lists the frames of the epoch, although its header has the next salts already.
// l.mu must be held.
//
// https://sqlite.org/walformat.html#the_wal_index_file_format
func (l *Ledger) foldIndex(log io.ReaderAt, pageSize uint32, next format.Salt) bool {
	if l.epoch.IsZero() || !l.follows() || next.IsZero() || l.index == nil || !l.tally.known {
		return false
	}
	at, err := wal.Boundary(l.index)
	if err != nil || at.Salt != next || at.MxFrame != 0 || at.Change-l.tally.all != l.own.count.Load()-l.tally.own {
		return false
	}
	var pages []uint32
	b := make([]byte, 4<<10)
	for n := l.scanned + 1; ; {
		offset, listed := format.WALIndexPages(n)
		if n > l.scanned+1 && listed == format.WALIndexBlock {
			// Only the first frame of a block clears the remains of a longer WAL there.
			var b [format.FrameHeaderSize]byte
			if _, err := log.ReadAt(b[:], format.FrameOffset(pageSize, n)); err != nil || format.ParseFrame(b[:]).Salt != l.epoch {
				break
			}
		}
		got, err := l.index.ReadAt(b[:min(len(b), 4*listed)], offset)
		if err != nil && err != io.EOF {
			return false
		}
		part := b[:got&^3]
		for len(part) > 0 && binary.NativeEndian.Uint32(part) != 0 {
			pages = append(pages, binary.NativeEndian.Uint32(part))
			part = part[4:]
			n++
		}
		if len(part) > 0 || got < 4 {
			break
		}
	}
	for _, page := range pages {
		l.add(page)
	}
	if least := l.own.least.Load(); least != 0 {
		l.sized(least)
	}
	return true
}

// beginTally notes, at a reset, how many commits there are, and how large the database
// is. l.mu must be held.
func (l *Ledger) beginTally() {
	l.own.least.Store(0)
	l.tally = tally{}
	if l.index == nil {
		return
	}
	if at, err := wal.Boundary(l.index); err == nil {
		l.own.size.Store(l.sizeOf(at)) // otherwise the next commit would pass for a smaller one
		l.tally = tally{true, at.Change, l.own.count.Load()}
	}
}

// add makes a page dirty. A page that is dirty already is in the state file, or is fresh.
// l.mu must be held.
func (l *Ledger) add(page uint32) {
	for _, w := range l.watches {
		w.current.Remove(page)
	}
	if l.dirty.CheckedAdd(page) {
		l.fresh.Add(page)
	}
}

// note makes the page of frame n of the epoch dirty. l.mu must be held.
func (l *Ledger) note(n uint32, f format.Frame) {
	l.add(f.Page)
	if f.Commit != 0 {
		l.sized(f.Commit)
	}
	l.scanned, l.checksum = n, f.Checksum
}
