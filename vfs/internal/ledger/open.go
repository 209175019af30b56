package ledger

import (
	"os"

	"github.com/walvfs/walvfs/format"
	"github.com/walvfs/walvfs/internal/statefile"
	"github.com/walvfs/walvfs/vfs/internal/continuity"
)

// Open returns the ledger of a database that has no writers yet. It continues from the
// state file if the inspection proves that it can. If not, it notes the changes from now
// on, in case the replica proves to hold the database as it was opened.
func Open(i Inspection, replica string) *Ledger {
	l := newLedger(i.path)
	l.record = i.side
	l.record.State = nil
	if i.Record != continuity.OwnFile {
		l.record = statefile.New(replica, i.id)
		l.record.Acked, l.record.Intents = i.side.Acked, i.side.Intents
	}
	switch i.Proof {
	case continuity.Proven:
		l.resume(i)
	case continuity.DiskLost:
		l.assume(i)
		// The application's next commits would hide the loss.
		if !l.record.DiskLost {
			l.record.DiskLost = true
			l.save()
		}
	default:
		l.assume(i)
	}
	if len(i.lacked) > 0 && i.Record == continuity.OwnFile {
		l.save() // after a reset of the WAL, no file shows it any more
	}
	return l
}

// resume continues from the state that an earlier run left.
func (l *Ledger) resume(i Inspection) {
	s := i.side.State
	l.goesOn = true
	l.epoch, l.scanned, l.checksum = i.at.epoch, i.at.scanned, i.at.checksum
	l.dirty, _ = s.Pages() // the inspection has decoded them
	l.floor, l.pageSize = s.Floor, s.PageSize
	if l.epoch == s.Epoch {
		l.trail = s.Trail
	}
	if l.epoch.IsZero() {
		l.closed = s.Closed
	}
	if err := l.file.Continue(); err != nil {
		l.warned, l.warning = true, err
	}
}

// assume begins with the content of the files: all frames of the WAL and later changes
// are dirty. If the files cannot be read, every page is dirty.
func (l *Ledger) assume(i Inspection) {
	f := i.Found
	pageSize := f.WAL.PageSize
	if pageSize == 0 {
		pageSize, _ = fileSize(i.path)
	}
	if f.Err != nil || pageSize == 0 || f.Size < int64(pageSize) {
		return
	}
	l.assumed, l.epoch, l.pageSize, l.floor = true, f.WAL.Salt, pageSize, uint32(f.Size/int64(pageSize))
	if l.epoch.IsZero() {
		l.closed = &statefile.Closed{Size: f.Size, MTime: f.MTime, Settled: f.Settled}
	}
}

// fileSize reads the page size and the number of pages of a database file, zeros if it is
// not a database.
func fileSize(path string) (pageSize, pages uint32) {
	f, err := os.Open(path)
	if err != nil {
		return 0, 0
	}
	defer f.Close()
	var header [100]byte
	info, err := f.Stat()
	if _, rerr := f.ReadAt(header[:], 0); err != nil || rerr != nil {
		return 0, 0
	}
	pageSize = format.DatabasePageSize(header[:])
	if pageSize < 512 || pageSize&(pageSize-1) != 0 {
		return 0, 0
	}
	return pageSize, uint32(info.Size() / int64(pageSize))
}
