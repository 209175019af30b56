package ledger

import (
	"slices"

	"github.com/walvfs/walvfs/format"
	"github.com/walvfs/walvfs/internal/statefile"
	"github.com/walvfs/walvfs/shipper"
)

// find returns the mark of a file of the replica, nil if this copy neither wrote it nor
// was restored from it.
func find(r *statefile.Record, pos shipper.Position) *statefile.Mark {
	is := func(mark statefile.Mark) bool { return mark.TXID == pos.TXID && mark.Checksum == pos.Checksum }
	if r.Acked != nil && is(*r.Acked) {
		return r.Acked
	}
	if i := slices.IndexFunc(r.Intents, is); i >= 0 {
		return &r.Intents[i]
	}
	return nil
}

// Find returns the mark of a file of the replica. It reports false if this copy neither
// wrote it nor was restored from it.
func (l *Ledger) Find(pos shipper.Position) (mark statefile.Mark, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if m := find(&l.record, pos); m != nil {
		return *m, true
	}
	return mark, false
}

// NodeID returns this copy's node ID.
func (l *Ledger) NodeID() uint64 { return l.record.NodeID } // it never changes

// Newest returns the position of the newest file that the replica is known to have, zero
// for none.
func (l *Ledger) Newest() shipper.Position {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.record.Acked == nil {
		return shipper.Position{}
	}
	return shipper.Position{TXID: l.record.Acked.TXID, Checksum: l.record.Acked.Checksum}
}

// know notes the newest file that the replica has. l.mu must be held.
func (l *Ledger) know(acked statefile.Mark) {
	l.record.Acked, l.record.Intents = &acked, statefile.After(l.record.Intents, acked)
}

// Recognized notes the replica's tip, from which the database continues.
func (l *Ledger) Recognized(tip statefile.Mark) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.goesOn = true
	l.know(tip)
	if n := len(l.trail); tip.End.Number > 0 && tip.Epoch == l.epoch && (n == 0 || l.trail[n-1].Number < tip.End.Number) {
		l.cutAt(tip.End)
	}
	l.appendState()
}

// Keep writes the state file. The result of a comparison is worth it: it took a download,
// and proves nothing any more after a commit and a checkpoint.
func (l *Ledger) Keep() { l.save() }

// Forget notes that the replica is empty.
func (l *Ledger) Forget() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.goesOn = true
	l.record.Acked, l.record.Intents = nil, nil
	l.file.Close() // its first line still has the marks
}

// Decided clears the note that the disk has lost commits.
func (l *Ledger) Decided() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.record.DiskLost {
		l.record.DiskLost = false
		l.file.Close() // its first line says otherwise: the next intent replaces it
	}
}

// mostIntents bounds the state file: so many runs in a row ended during an upload of one
// TXID.
const mostIntents = 100

// Intend durably notes the file that is about to be uploaded, cut at a boundary. The disk
// need not have the WAL up to there yet. Appending a state takes half the time of writing
// a whole file.
func (l *Ledger) Intend(mark statefile.Mark, at format.WALIndex) {
	if at.MxFrame > 0 {
		mark.Epoch, mark.End = at.Salt, statefile.Frame{Number: at.MxFrame, Checksum: at.FrameChecksum}
	}
	l.mu.Lock()
	intents := append(slices.Clone(l.record.Intents), mark)
	l.record.Intents = intents[max(0, len(intents)-mostIntents):]
	sync, err := l.file.AppendWhole(l.state())
	if err == nil {
		l.fresh.Clear()
	}
	l.mu.Unlock()
	if err == nil {
		if err = sync(); err != nil {
			l.Discard() // a later sync may succeed without this line
		}
	}
	if err != nil {
		l.save()
	}
}

// mostTrail bounds the state file.
const mostTrail = 16

// Ack ends a cut that the replica has, and notes it.
func (l *Ledger) Ack(mark statefile.Mark, at format.WALIndex) {
	l.mu.Lock()
	if at.MxFrame > 0 && at.Salt == l.epoch {
		l.cutAt(statefile.Frame{Number: at.MxFrame, Checksum: at.FrameChecksum})
	}
	l.inFlight, l.shipped = nil, at.Change
	l.know(mark)
	l.appendState()
	restored := l.record.Restored || l.record.Rewind
	l.record.Restored, l.record.Rewind = false, false
	l.mu.Unlock()
	if restored {
		l.save() // the first line of the file says that it was restored
	}
}

// cutAt notes a frame at which the replica was cut. l.mu must be held.
func (l *Ledger) cutAt(end statefile.Frame) {
	l.trail = append(l.trail[max(0, len(l.trail)+1-mostTrail):], end)
}
