package ledger

import (
	"github.com/RoaringBitmap/roaring/v2"

	"github.com/walvfs/walvfs/internal/statefile"
)

// state describes the pages that the replica may not have. l.mu must be held.
func (l *Ledger) state() statefile.State {
	dirty := l.dirty
	if l.inFlight != nil {
		dirty = roaring.Or(dirty, l.inFlight.pages)
	}
	return withPages(l.outline(), dirty)
}

// outline returns the state without its pages. l.mu must be held.
func (l *Ledger) outline() statefile.State {
	s := statefile.State{
		Acked:    l.record.Acked,
		Intents:  l.record.Intents,
		Unsynced: l.unsynced,
		Epoch:    l.epoch,
		Trail:    l.trail,
		PageSize: l.pageSize,
		Floor:    l.floor,
	}
	if n := len(l.trail); n > 0 { // not l.scanned: the disk may not have that yet
		s.Scanned, s.Checksum = l.trail[n-1].Number, l.trail[n-1].Checksum
	}
	if l.epoch.IsZero() {
		s.Closed = l.closed
	}
	if l.inFlight != nil {
		s.Floor = min(s.Floor, l.inFlight.floor)
	}
	if l.assumed {
		s.Floor = 0
	}
	return s
}

func withPages(s statefile.State, dirty *roaring.Bitmap) statefile.State {
	if s.Floor == 0 {
		return s // every page is dirty
	}
	var err error
	if s.Dirty, err = statefile.Pages(dirty); err != nil {
		s.Floor = 0
	}
	return s
}

// appendState adds the whole state to the state file, not durably: if the write fails,
// the WAL does not match the file at the next open. l.mu must be held.
func (l *Ledger) appendState() {
	l.settle()
	l.told++
	l.file.Append(l.state(), l.state)
	l.fresh.Clear()
}

// appendMore adds a state that has the pages of the state before, and more pages: the
// application waits for it, and the set may be large. l.mu must be held.
func (l *Ledger) appendMore(s statefile.State) {
	l.told++
	more := withPages(s, l.fresh)
	more.More = true
	l.file.Append(more, func() statefile.State {
		all := l.state()
		s.Floor, s.Dirty = all.Floor, all.Dirty
		return s
	})
	l.fresh.Clear()
}

// draftTries is how many drafts are made while the application keeps resetting its WAL,
// before the application must wait.
const draftTries = 3

// save writes the whole state file durably. Without it, replication would continue, but a
// crash would make the replica a stranger's. l.mu must not be held.
func (l *Ledger) save() {
	for try := range draftTries + 1 {
		done, err := l.trySave(try == draftTries)
		if err != nil {
			l.warn(err)
			return
		}
		if done {
			break
		}
	}
	if err := l.file.Sync(); err != nil {
		l.warn(err)
	}
}

// warn keeps the first failure for the log. l.mu must not be held.
func (l *Ledger) warn(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.warned {
		l.warned, l.warning = true, err
	}
}

// trySave reports false if a state was appended meanwhile, as at each reset of the WAL:
// then the written state is not the newest.
func (l *Ledger) trySave(locked bool) (done bool, err error) {
	l.mu.Lock()
	l.settle()
	told, state, record := l.told, l.state(), l.record
	if !locked {
		l.mu.Unlock()
	}
	record.State = &state
	draft, err := l.file.Draft(record)
	if !locked {
		l.mu.Lock()
	}
	defer l.mu.Unlock()
	switch {
	case err != nil:
		return false, err
	case l.told != told:
		draft.Discard()
		return false, nil
	}
	return true, draft.Publish()
}

// Close saves the final state of the database, and closes the state file. If the database
// was not judged to continue the replica, the file stays unchanged: a record of this file
// with the marks of another file would let a copy pass for it.
func (l *Ledger) Close() {
	l.mu.Lock()
	known := l.goesOn && (l.record.Acked != nil || len(l.record.Intents) > 0)
	l.mu.Unlock()
	if known {
		l.save()
	}
	l.Discard()
}

// Discard closes the state file without writing to it.
func (l *Ledger) Discard() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.file.Close()
}
