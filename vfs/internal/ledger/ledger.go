// Package ledger tracks which pages of a database its replica does not have.
//
// It follows the WAL by epochs. An epoch is the life of a WAL between two resets,
// identified by its salts; they count up, jump or repeat, so they are compared for
// equality only. Within an epoch the WAL itself shows the changes. A reset happens only
// after all commits of the epoch were checkpointed. From then on, the content of those
// pages is in the database file, and the ledger keeps only their numbers:
//
//	epoch A                              epoch B
//	frame 1 … scanned … last │ reset     frame 1 …
//	          └ dirty at the reset ┘
//
// The numbers are in a dirty set. The state file next to the database has a copy of it,
// so that replication can continue after a restart or a crash:
//
//	application ─ Reset, Direct ─▶ ┌───────────┐ ─▶ state file
//	cut ── Scan, Take ───────────▶ │ dirty set │
//	     ◀─ Ack, Abandon ───────── └───────────┘
//
// If pages are copied ahead of a cut, a [Watch] tracks which of the copies are stale.
//
// One mutex guards a Ledger, and no code outside of this package takes it. A Ledger calls
// no code of the application: log messages wait for [Ledger.News].
package ledger

import (
	"cmp"
	"io"
	"math"
	"sync"

	"github.com/RoaringBitmap/roaring/v2"

	"github.com/walvfs/walvfs/format"
	"github.com/walvfs/walvfs/internal/statefile"
	"github.com/walvfs/walvfs/vfs/internal/wal"
)

// A Ledger tracks which pages changed since the last acknowledged cut, and which file of
// the replica holds that cut. Its methods are safe for concurrent use.
type Ledger struct {
	path string // of the database
	own  ownCommits

	mu         sync.Mutex
	file       *statefile.File
	record     statefile.Record  // without its state, which the fields below make up
	warned     bool              // the failure to write it was noted
	warning    error             // not yet returned by News
	told       int               // number of states appended to the file
	pageSize   uint32            // bytes, 0 if not known yet
	epoch      format.Salt       // of the WAL, zero if it is empty
	scanned    uint32            // frames of the epoch whose pages were made dirty
	checksum   [2]uint32         // of the last of these frames
	trail      []statefile.Frame // frames of the epoch at which the replica was cut
	folded     folded            // an epoch that is dirty to its end
	resets     int               // counted since the start, except resets of a WAL without a commit
	resetsMade int               // all resets that this process made since the start
	anew       chan struct{}     // closed at the next reset of the WAL, nil if no caller waits for it
	tally      tally             // at the newest reset
	index      io.ReaderAt       // the WAL index, nil until it is open
	change     uint32            // the index's commit counter when the WAL was last seen empty
	shipped    uint32            // the index's commit counter at the newest file, or when it was opened
	closed     *statefile.Closed // the database file when the WAL became empty, nil if it has changed or is unknown
	dirty      *roaring.Bitmap   // pages changed since the last cut
	fresh      *roaring.Bitmap   // dirty pages that are not in the state file
	floor      uint32            // the smallest size since the last cut, in pages: all pages above are dirty
	assumed    bool              // the dirty set is right only if the opened database equals the replica
	goesOn     bool              // the database is known to continue the replica: the record may name this file
	unsynced   bool              // a connection has, or had, synchronous=off
	inFlight   *Taken            // the pages of the cut under way, nil if there is none
	watches    []*Watch          // watches of copies made ahead of cuts
	reason     string            // of a resync, not yet returned by News
}

// newLedger returns a ledger without knowledge: every page is dirty.
func newLedger(path string) *Ledger {
	return &Ledger{path: path, file: statefile.Open(path), dirty: roaring.New(), fresh: roaring.New()}
}

// all reports whether every page is dirty. l.mu must be held.
func (l *Ledger) all() bool { return l.floor == 0 }

// resync makes every page dirty because continuity is not proven. l.mu must be held.
func (l *Ledger) resync(reason string) {
	l.lost()
	l.needAll(reason)
}

// needAll makes every page dirty, whatever the ledger knows of them. l.mu must be held.
func (l *Ledger) needAll(reason string) {
	if !l.all() {
		l.floor, l.reason = 0, reason
	}
}

// News returns new events for the log: why every page became dirty, "" if they did not or
// may not be uploaded yet, and why the state file cannot be written. The foreground does
// not call it: a logger is the application's code, and may write to this very database.
func (l *Ledger) News() (resync string, warning error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	warning, l.warning = l.warning, nil
	if l.goesOn {
		resync, l.reason = l.reason, ""
	}
	return resync, warning
}

// Direct notes a write of n bytes to the database file by anything but a checkpoint.
func (l *Ledger) Direct(off int64, n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	size := int64(l.pageSize)
	if size == 0 {
		l.resync("the database was written before its page size was known")
		return
	}
	l.closed = nil
	l.lost()
	first, last := off/size+1, (off+int64(n)-1)/size+1
	l.dirty.AddRange(uint64(first), uint64(last)+1)
	l.fresh.AddRange(uint64(first), uint64(last)+1)
}

// DirectTruncate notes a truncation of the database file by anything but a checkpoint.
func (l *Ledger) DirectTruncate(size int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.pageSize != 0 {
		l.sized(uint32(size / int64(l.pageSize)))
	}
}

// Clean reports whether no page is known to be dirty, and no cut is under way.
func (l *Ledger) Clean() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return !l.all() && !l.assumed && l.dirty.IsEmpty() && l.inFlight == nil
}

// NeedAll makes every page dirty for a reason that the replica gives, "" for an obvious
// reason.
func (l *Ledger) NeedAll(reason string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.floor, l.reason, l.assumed = 0, reason, false
}

// Holds notes that the database, as it was opened, holds the replica's newest file: the
// replica lacks only pages that changed since. The changes since an older file do not
// show that: the newest file may have undone changes of the older file.
func (l *Ledger) Holds() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.assumed {
		l.resync("the state file is older than the replica")
	}
	l.assumed = false
	l.appendState()
}

// SameWAL reports whether the WAL at a boundary is the WAL with which the database was
// opened, or the first WAL since if there was none.
func (l *Ledger) SameWAL(found wal.Found, at format.WALIndex) bool {
	if found.Last > 0 {
		return at.MxFrame >= found.Last && at.Salt == found.WAL.Salt
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if at.MxFrame == 0 {
		return l.resets <= 1 // a first transaction may have begun
	}
	return l.resets <= 1 && at.Salt == l.epoch
}

// SetPageSize sets the page size of the database, and of the replica's newest file, 0 for
// none. It changes only outside of WAL mode, where the changed pages are not tracked.
func (l *Ledger) SetPageSize(size, replica uint32) {
	l.mu.Lock()
	defer l.mu.Unlock()
	const reason = "the page size changed"
	switch {
	case l.pageSize != 0 && l.pageSize != size:
		l.resync(reason)
	case replica != 0 && replica != size:
		l.needAll(reason)
	}
	l.pageSize = size
}

// Distrust notes that writes may not be synced. It reports whether that is new.
func (l *Ledger) Distrust() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.unsynced {
		return false
	}
	l.unsynced = true
	l.appendMore(l.outline())
	return true
}

// Behind estimates what the replica lacks: commits since the database was opened, and
// pages and their bytes.
func (l *Ledger) Behind() (commits, pages, bytes int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	var at format.WALIndex
	if l.index != nil {
		var err error
		if at, err = wal.Boundary(l.index); err != nil {
			return 0, 0, 0
		}
	}
	if at.NPage == 0 { // the WAL was never written: the file is the database
		at.PageSize, at.NPage = fileSize(l.path)
	}
	pages = int64(l.dirty.GetCardinality())
	if l.inFlight != nil {
		pages += int64(l.inFlight.pages.GetCardinality())
	}
	if at.Salt == l.epoch && at.MxFrame > l.scanned {
		pages += int64(at.MxFrame - l.scanned)
	}
	if l.all() || l.assumed || pages > int64(at.NPage) {
		pages = int64(at.NPage)
	}
	commits = int64(int32(at.Change - l.shipped))
	switch {
	case commits >= 0:
	case pages > 0: // SQLite's recovery of the index restarted its count
		commits = max(1, int64(at.Change))
	default:
		commits = 0
	}
	return commits, pages, pages * int64(cmp.Or(l.pageSize, at.PageSize))
}

// Boundary returns the end of the newest committed transaction. It reports false if it is
// unknown.
func (l *Ledger) Boundary() (at format.WALIndex, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.index == nil {
		return at, false
	}
	at, err := wal.Boundary(l.index)
	return at, err == nil
}

// Unscanned reports whether the WAL with which a database was opened has commits that no
// cut has seen.
func (l *Ledger) Unscanned(found wal.Found) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return found.Last > l.scanned
}

// A Taken holds the pages that a cut took from the dirty set.
type Taken struct {
	pages *roaring.Bitmap
	floor uint32
}

// Pages returns the pages that a cut must hold: the changed pages, and every page between
// the smallest size since the last cut and the new size, since the database may have
// grown without a frame.
func (t Taken) Pages(pageSize, nPage uint32) *roaring.Bitmap {
	pages := t.pages.Clone()
	if t.floor < nPage {
		pages.AddRange(uint64(t.floor)+1, uint64(nPage)+1)
	}
	pages.RemoveRange(uint64(nPage)+1, math.MaxUint32+1)
	pages.Remove(format.LockPage(pageSize))
	pages.RunOptimize()
	return pages
}

// Whole reports whether the changes are unknown.
func (t Taken) Whole() bool { return t.floor == 0 }

// Lacks returns the pages that the replica lacks of a database of nPage pages, as far as
// the WAL is scanned.
func (l *Ledger) Lacks(pageSize, nPage uint32) *roaring.Bitmap {
	l.mu.Lock()
	defer l.mu.Unlock()
	all := Taken{l.dirty, l.floor}
	if t := l.inFlight; t != nil {
		all = Taken{roaring.Or(l.dirty, t.pages), min(l.floor, t.floor)}
	}
	return all.Pages(pageSize, nPage)
}

// Take empties the dirty set for a cut at which the database has nPage pages.
func (l *Ledger) Take(nPage uint32) *Taken {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.inFlight = &Taken{l.dirty, l.floor}
	l.dirty, l.floor = roaring.New(), nPage
	return l.inFlight
}

// Drop ends a cut without changes.
func (l *Ledger) Drop() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.inFlight = nil
}

// Abandon ends a cut that the replica does not have. Its pages are dirty again.
func (l *Ledger) Abandon() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if t := l.inFlight; t != nil {
		l.dirty.Or(t.pages)
		l.floor = min(l.floor, t.floor)
		l.inFlight = nil
	}
}
