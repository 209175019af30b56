package ledger

import (
	"bytes"
	"errors"
	"io"
	"os"
	"time"

	"github.com/walvfs/walvfs/format"
	"github.com/walvfs/walvfs/internal/statefile"
	"github.com/walvfs/walvfs/vfs/internal/wal"
)

// Reset calls do, which makes the WAL start over, and follows the reset. A cut must not
// see one without the other: it would take this reset for another process's.
func (l *Ledger) Reset(log io.ReaderAt, next format.Salt, do func() error) error {
	return l.reset(log, next, (*Ledger).closedByWAL, do)
}

// reset is Reset with a function that looks at the database file if the WAL becomes
// empty.
func (l *Ledger) reset(log io.ReaderAt, next format.Salt, look func(*Ledger) *statefile.Closed, do func() error) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.resetsMade++
	committed, checksum := l.scanned, l.checksum // fold adds frames that may not be committed
	salt, pageSize, err := wal.Salt(log)
	switch {
	case err != nil:
		l.resync("the WAL cannot be read: " + err.Error())
	case salt != l.epoch, l.epoch.IsZero() && l.committedUnseen():
		l.resync(wal.ErrReset.Error())
	case l.foldedToEnd():
	case !l.foldIndex(log, pageSize, next):
		l.fold(log, pageSize)
	}
	l.beginTally()
	l.closed = nil
	if next.IsZero() {
		// SQLite has checkpointed and synced the database, and lets no other connection
		// do so until the WAL is empty.
		l.closed = look(l)
	}
	if l.epoch.IsZero() || l.index == nil || l.committedUnseen() {
		l.resets++
	}
	// The state is true both before the reset and after: until the WAL has the new salts,
	// it has the previous salts.
	s := l.outline()
	s.Epoch, s.Scanned, s.Checksum, s.Closed, s.Trail = next, 0, [2]uint32{}, l.closed, nil
	if next != l.epoch {
		s.Previous, s.PreviousScanned = l.epoch, committed
	}
	l.appendMore(s)
	if err := do(); err != nil {
		l.scanned, l.checksum = committed, checksum
		return err
	}
	l.begin(next)
	if l.anew != nil {
		close(l.anew)
		l.anew = nil
	}
	if next.IsZero() {
		l.seenEmpty()
	}
	return nil
}

// Delete is Reset for a WAL that its last connection has closed.
func (l *Ledger) Delete(name string, do func() error) error {
	f, err := os.Open(name)
	if errors.Is(err, os.ErrNotExist) {
		return l.reset(bytes.NewReader(nil), format.Salt{}, (*Ledger).closedForGood, do)
	}
	if err != nil {
		return l.reset(broken{err}, format.Salt{}, (*Ledger).closedForGood, do)
	}
	defer f.Close()
	return l.reset(f, format.Salt{}, (*Ledger).closedForGood, do)
}

type broken struct{ err error }

func (b broken) ReadAt([]byte, int64) (int, error) { return 0, b.err }

// begin begins an epoch without scanned frames. l.mu must be held.
func (l *Ledger) begin(epoch format.Salt) {
	l.epoch, l.scanned, l.checksum, l.trail, l.folded = epoch, 0, [2]uint32{}, nil, folded{}
}

func closedNow(path string) *statefile.Closed {
	now := time.Now()
	info, err := os.Stat(path)
	if err != nil {
		return nil
	}
	return statefile.ClosedAs(info, now)
}

// closedByWAL is closedNow for a WAL that becomes empty and stays in use. With
// synchronous=off, checkpointed pages may still be lost. l.mu must be held.
func (l *Ledger) closedByWAL() *statefile.Closed {
	if l.unsynced {
		return nil
	}
	return closedNow(l.path)
}

// closedForGood is closedNow for the last close, while SQLite keeps all other connections
// out. It waits until a write changes the file's time: otherwise a write in the same tick
// of the clock would go unnoticed. It syncs the file if SQLite did not. l.mu must be
// held.
func (l *Ledger) closedForGood() *statefile.Closed {
	if l.unsynced && syncFile(l.path) != nil {
		return nil
	}
	closed := closedNow(l.path)
	if closed != nil && !closed.Settled && closed.MTime.Nanosecond() != 0 {
		time.Sleep(min(statefile.ClockTick, time.Until(closed.MTime.Add(statefile.ClockTick))) + time.Millisecond)
		closed = closedNow(l.path)
	}
	return closed
}

func syncFile(path string) error {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// settle looks at the database file again, if a write may not have changed its time when
// the WAL became empty. l.mu must be held.
func (l *Ledger) settle() {
	if l.closed == nil || l.closed.Settled || !l.epoch.IsZero() || l.index == nil {
		return
	}
	if now := closedNow(l.path); now != nil && now.Proves(l.closed) && !l.committedUnseen() {
		l.closed = now
	}
}

// seenEmpty notes the number of commits when the WAL is empty. All empty WALs look alike:
// only this number shows that the WAL was not empty in between. l.mu must be held.
func (l *Ledger) seenEmpty() {
	if l.index == nil {
		return
	}
	if at, err := wal.Boundary(l.index); err == nil {
		l.change = at.Change
	} else {
		l.resync(err.Error())
	}
}

// committedUnseen reports whether a commit came since the WAL was seen empty. l.mu must
// be held.
func (l *Ledger) committedUnseen() bool {
	if l.index == nil {
		return false // Attach will find out
	}
	at, err := wal.Boundary(l.index)
	return err != nil || at.Change != l.change
}

// Attach follows the WAL index. From now on, the open index keeps other connections from
// deleting the WAL. The files show earlier changes.
func (l *Ledger) Attach(index io.ReaderAt) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.index = index
	at, err := wal.Boundary(index)
	if err == nil {
		l.shipped = at.Change
		l.own.size.Store(l.sizeOf(at))
	}
	if !l.epoch.IsZero() {
		return
	}
	if now := closedNow(l.path); !l.all() && (l.closed == nil || now == nil || !l.closed.Proves(now)) {
		l.resync("the database may have been written to while it was being opened")
	}
	if at.MxFrame > 0 { // the WAL began after it was looked at: seenEmpty would count its commits as seen
		l.resync(wal.ErrReset.Error())
	}
	l.seenEmpty()
}

// sizeOf returns the size of the database in pages, 0 if unknown. l.mu must be held.
func (l *Ledger) sizeOf(at format.WALIndex) uint32 {
	if at.NPage != 0 {
		return at.NPage
	}
	_, pages := fileSize(l.path) // the WAL was empty when the index was created
	return pages
}
