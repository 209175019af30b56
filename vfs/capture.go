package vfs

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"log/slog"
	"math"
	"os"
	"sync"

	"github.com/RoaringBitmap/roaring/v2"

	"github.com/walvfs/walvfs/format"
	"github.com/walvfs/walvfs/shipper/sidecar"
)

// capture knows which pages changed since the last acknowledged cut.
//
// It follows the WAL by epochs. An epoch is the life of a WAL between two resets,
// identified by its salts; they count up, jump or repeat, so they are compared for
// equality only. Within an epoch the WAL itself tells what changed. A reset
// happens only after everything committed in the epoch was checkpointed, so that
// from then on the content of those pages is in the database file, and only
// their numbers need to be kept:
//
//	epoch A                              epoch B
//	frame 1 … scanned … last │ reset     frame 1 …
//	          └ dirty at the reset ┘
type capture struct {
	log     *slog.Logger
	path    string                                          // of the database
	journal func(s sidecar.State, all func() sidecar.State) // is told of each state to remember, under mu; see [sidecar.File.Append]

	mu       sync.Mutex
	pageSize uint32          // bytes, 0 if not known yet
	epoch    format.Salt     // of the WAL, zero if it is empty
	scanned  uint32          // frames of the epoch whose pages were made dirty
	checksum [2]uint32       // of the last one
	trail    []sidecar.Frame // of the epoch that the replica was cut at
	resets   int             // since the start, but for those of a WAL without a commit
	own      ownCommits      // not guarded by mu
	anew     chan struct{}   // closed when the WAL begins anew, nil if nobody waits for that
	tally    tally           // at the newest reset
	told     int             // states that the journal was told
	index    io.ReaderAt     // the WAL index, nil until it is open
	change   uint32          // the index's when the WAL was last seen empty
	shipped  uint32          // the index's at the newest file, or when it was opened
	closed   *sidecar.Closed // the database file when the WAL became empty, nil if it has changed or is not known
	acked    *sidecar.Mark   // the newest file that the replica is known to have
	intents  []sidecar.Mark  // of the files that it may have after that
	dirty    *roaring.Bitmap // pages changed since the last cut
	fresh    *roaring.Bitmap // of them, those that the journal has not heard of
	floor    uint32          // the least size since the last cut, in pages: all above are dirty
	unsynced bool            // a connection has, or had, synchronous=off
	inFlight *taken          // what the cut under way took, nil if there is none
	reason   string          // of a resync that no cut has told the log
	resynced func(reason string)
}

// newCapture knows nothing, so that every page is dirty.
func newCapture(path string, log *slog.Logger) *capture {
	return &capture{
		path:     path,
		log:      log,
		journal:  func(sidecar.State, func() sidecar.State) {},
		resynced: func(string) {},
		dirty:    roaring.New(),
		fresh:    roaring.New(),
	}
}

// all reports whether every page is dirty. c.mu must be held.
func (c *capture) all() bool { return c.floor == 0 }

// resync makes every page dirty because continuity is not proven.
// c.mu must be held.
func (c *capture) resync(reason string) {
	if !c.all() {
		c.floor, c.reason = 0, reason
	}
}

// tell logs a resync. The foreground does not: a logger is the application's code,
// and may write to this very database.
func (c *capture) tell() {
	c.mu.Lock()
	reason := c.reason
	c.reason = ""
	c.mu.Unlock()
	if reason != "" {
		c.log.Warn("the whole database is uploaded again", "reason", reason)
		c.resynced(reason)
	}
}

const foreignReset = "the WAL was reset outside of this VFS"

// reset does what makes the WAL start over, and follows it. No cut may see one
// without the other: it would take this reset for another process's.
func (c *capture) reset(wal io.ReaderAt, next format.Salt, do func() error) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	committed := c.scanned // what fold adds to it may not be
	salt, pageSize, err := walSalt(wal)
	switch {
	case err != nil:
		c.resync("the WAL cannot be read: " + err.Error())
	case salt != c.epoch, c.epoch.IsZero() && c.committedUnseen():
		c.resync(foreignReset)
	case !c.foldIndex(wal, pageSize, next):
		c.fold(wal, pageSize)
	}
	c.beginTally()
	c.closed = nil
	if next.IsZero() {
		// SQLite has checkpointed and synced the database, and keeps everybody
		// else from doing so, until the WAL is empty.
		c.closed = closedNow(c.path)
	}
	// What is told holds both ways: until the WAL has the new salts, it has the
	// previous ones.
	if c.epoch.IsZero() || c.index == nil || c.committedUnseen() {
		c.resets++
	}
	s := c.outline()
	s.Epoch, s.Scanned, s.Checksum, s.Closed, s.Trail = next, 0, [2]uint32{}, c.closed, nil
	if next != c.epoch {
		s.Previous, s.PreviousScanned = c.epoch, committed
	}
	c.tellMore(s)
	if err := do(); err != nil {
		return err
	}
	c.epoch, c.scanned, c.trail = next, 0, nil
	if c.anew != nil {
		close(c.anew)
		c.anew = nil
	}
	if next.IsZero() {
		c.seenEmpty()
	}
	return nil
}

func closedNow(path string) *sidecar.Closed {
	info, err := os.Stat(path)
	if err != nil {
		return nil
	}
	return sidecar.ClosedAs(info)
}

// seenEmpty remembers how many commits there have been when the WAL is empty. One
// empty WAL is like another: only this tells that it was not empty in between.
// c.mu must be held.
func (c *capture) seenEmpty() {
	if c.index == nil {
		return
	}
	if at, err := boundary(c.index); err == nil {
		c.change = at.Change
	} else {
		c.resync(err.Error())
	}
}

// committedUnseen reports whether there was a commit since the WAL was seen empty.
// c.mu must be held.
func (c *capture) committedUnseen() bool {
	if c.index == nil {
		return false // its opening will tell
	}
	at, err := boundary(c.index)
	return err != nil || at.Change != c.change
}

// attach follows the WAL index, which keeps others from deleting the WAL from now
// on. What happened before is told by the files.
func (c *capture) attach(index io.ReaderAt) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.index = index
	if at, err := boundary(index); err == nil {
		c.shipped = at.Change
	}
	if !c.epoch.IsZero() {
		return
	}
	if now := closedNow(c.path); !c.all() && (c.closed == nil || now == nil || !c.closed.Equal(now)) {
		c.resync("the database was written to while it was being opened")
	}
	c.seenEmpty()
}

// delete is reset for a WAL that its last connection has closed.
func (c *capture) delete(name string, do func() error) error {
	f, err := os.Open(name)
	if errors.Is(err, os.ErrNotExist) {
		return c.reset(bytes.NewReader(nil), format.Salt{}, do)
	}
	if err != nil {
		return c.reset(broken{err}, format.Salt{}, do)
	}
	defer f.Close()
	return c.reset(f, format.Salt{}, do)
}

type broken struct{ err error }

func (b broken) ReadAt([]byte, int64) (int, error) { return 0, b.err }

// fold makes dirty every page that has a frame in the epoch after those scanned,
// committed or not: which ones are committed is not known here, and a page too
// many is harmless. c.mu must be held.
func (c *capture) fold(wal io.ReaderAt, pageSize uint32) {
	if c.epoch.IsZero() || c.all() {
		return
	}
	var b [format.FrameHeaderSize]byte
	for n := c.scanned + 1; ; n++ {
		_, err := wal.ReadAt(b[:], format.FrameOffset(pageSize, n))
		if err == io.EOF {
			return
		}
		if err != nil {
			c.resync("the WAL cannot be read: " + err.Error())
			return
		}
		// Committed frames have the epoch's salts. The first frame without them
		// is left from an epoch before, or from a spill that never became a
		// commit, which has zeros: no committed frame follows it.
		f := format.ParseFrame(b[:])
		if f.Salt != c.epoch {
			return
		}
		c.note(n, f)
	}
}

// foldIndex is fold from the WAL index, which lists the page of each frame: one read
// instead of a thousand. It does not list the sizes that commits made, and reports
// false, having done nothing, if some are not known to be this process's. Those of the
// epoch that a cut has seen count again: a few pages too many are harmless.
//
// It must be called by a writer that begins the WAL anew: until its first frame, the
// index, whose header has the next salts already, lists what the epoch had. c.mu must be
// held.
//
// https://sqlite.org/walformat.html#the_wal_index_file_format
func (c *capture) foldIndex(wal io.ReaderAt, pageSize uint32, next format.Salt) bool {
	if c.epoch.IsZero() || c.all() || next.IsZero() || c.index == nil || !c.tally.known {
		return false
	}
	at, err := boundary(c.index)
	if err != nil || at.Salt != next || at.MxFrame != 0 || at.Change-c.tally.all != c.own.count.Load()-c.tally.own {
		return false
	}
	var pages []uint32
	b := make([]byte, 4<<10)
	for n := c.scanned + 1; ; {
		offset, listed := format.WALIndexPages(n)
		if n > c.scanned+1 && listed == format.WALIndexBlock {
			// What a longer WAL has left there is cleared only with the first frame.
			var b [format.FrameHeaderSize]byte
			if _, err := wal.ReadAt(b[:], format.FrameOffset(pageSize, n)); err != nil || format.ParseFrame(b[:]).Salt != c.epoch {
				break
			}
		}
		got, err := c.index.ReadAt(b[:min(len(b), 4*listed)], offset)
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
		c.add(page)
	}
	if least := c.own.least.Load(); least != 0 {
		c.floor = min(c.floor, least)
	}
	return true
}

// beginTally looks how many commits there are, at a reset, and how large they have made
// the database. c.mu must be held.
func (c *capture) beginTally() {
	c.own.least.Store(0)
	c.tally = tally{}
	if c.index == nil {
		return
	}
	if at, err := boundary(c.index); err == nil {
		c.own.size.Store(at.NPage)
		c.tally = tally{true, at.Change, c.own.count.Load()}
	}
}

// add makes a page dirty. One that is dirty already was told to the journal, or is
// fresh. c.mu must be held.
func (c *capture) add(page uint32) {
	if c.dirty.CheckedAdd(page) {
		c.fresh.Add(page)
	}
}

// note makes the page of frame n of the epoch dirty. c.mu must be held.
func (c *capture) note(n uint32, f format.Frame) {
	c.add(f.Page)
	if f.Commit != 0 {
		c.floor = min(c.floor, f.Commit)
	}
	c.scanned, c.checksum = n, f.Checksum
}

// walSalt reads the salts and the page size of a WAL, zeros if it has no valid
// header: to SQLite, too, such a WAL is empty.
func walSalt(wal io.ReaderAt) (format.Salt, uint32, error) {
	var b [format.WALHeaderSize]byte
	if _, err := wal.ReadAt(b[:], 0); err == io.EOF {
		return format.Salt{}, 0, nil
	} else if err != nil {
		return format.Salt{}, 0, err
	}
	h, err := format.ParseWALHeader(b[:])
	if err != nil {
		return format.Salt{}, 0, nil
	}
	return h.Salt, h.PageSize, nil
}

// direct notes a write of n bytes to the database file that is not a checkpoint's.
func (c *capture) direct(off int64, n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	size := int64(c.pageSize)
	if size == 0 {
		c.resync("the database was written before its page size was known")
		return
	}
	c.closed = nil
	first, last := off/size+1, (off+int64(n)-1)/size+1
	c.dirty.AddRange(uint64(first), uint64(last)+1)
	c.fresh.AddRange(uint64(first), uint64(last)+1)
}

// directTruncate notes a truncation of the database file that is not a checkpoint's.
func (c *capture) directTruncate(size int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.pageSize != 0 {
		c.floor = min(c.floor, uint32(size/int64(c.pageSize)))
	}
}

// clean reports whether no page is known to be dirty, and no cut is under way.
func (c *capture) clean() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return !c.all() && c.dirty.IsEmpty() && c.inFlight == nil
}

// replicaNeedsAll is a resync for a reason that the replica gives, "" for one that
// goes without saying.
func (c *capture) replicaNeedsAll(reason string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.floor, c.reason = 0, reason
}

// setPageSize is told the page size of the database, and of the replica's newest
// file, 0 for none. It changes only outside of WAL mode, where nobody follows which
// pages change.
func (c *capture) setPageSize(size, replica uint32) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.pageSize != 0 && c.pageSize != size || replica != 0 && replica != size {
		c.resync("the page size changed")
	}
	c.pageSize = size
}

// A taken is what a cut took from the dirty set.
type taken struct {
	pages *roaring.Bitmap
	floor uint32
}

// take empties the dirty set for a cut at which the database has nPage pages.
func (c *capture) take(nPage uint32) *taken {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.inFlight = &taken{c.dirty, c.floor}
	c.dirty, c.floor = roaring.New(), nPage
	return c.inFlight
}

// distrust notes that what is written may not be synced.
func (c *capture) distrust() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.unsynced {
		c.unsynced = true
		c.tellMore(c.outline())
	}
}

// mostTrail bounds the sidecar.
const mostTrail = 16

// settle ends a cut that the replica has, and remembers that.
func (c *capture) settle(acked *sidecar.Mark, at format.WALIndex) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if at.MxFrame > 0 && at.Salt == c.epoch {
		c.trail = append(c.trail[max(0, len(c.trail)+1-mostTrail):], sidecar.Frame{Number: at.MxFrame, Checksum: at.FrameChecksum})
	}
	c.inFlight, c.shipped = nil, at.Change
	c.know(acked)
	c.journal(c.state(), c.state)
	c.fresh.Clear()
}

// drop ends a cut that holds nothing.
func (c *capture) drop() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.inFlight = nil
}

// giveBack ends a cut that the replica does not have. What it took is dirty again.
func (c *capture) giveBack() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if t := c.inFlight; t != nil {
		c.dirty.Or(t.pages)
		c.floor = min(c.floor, t.floor)
		c.inFlight = nil
	}
}

// set returns the pages that a cut must hold: those that changed, and every page
// between the least size since the last cut and the new one, which may have grown
// without a frame.
func (t taken) set(pageSize, nPage uint32) *roaring.Bitmap {
	pages := t.pages.Clone()
	if t.floor < nPage {
		pages.AddRange(uint64(t.floor)+1, uint64(nPage)+1)
	}
	pages.RemoveRange(uint64(nPage)+1, math.MaxUint32+1)
	pages.Remove(format.LockPage(pageSize))
	pages.RunOptimize()
	return pages
}
