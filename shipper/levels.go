package shipper

import (
	"math/rand/v2"
	"sync"
	"time"

	"github.com/RoaringBitmap/roaring/v2"

	"github.com/walvfs/walvfs/format"
)

// levels knows what the next file of each higher level has to hold: the pages of the
// level 0 files since its newest one. A large file that holds every page begins anew:
// it, and what comes before it, stays as it is until snapshots are older, rather than
// being uploaded once more at each level.
type levels struct {
	policy Policy

	mu       sync.Mutex
	list     []*level    // 1, 2, ... and then that of snapshots
	log      int         // counts begin: what is from another log than the replica's now does not count
	from     format.TXID // the tip at the start: sets hold only what came after it, until known
	fromTime time.Time
	known    bool         // sets hold what was there at the start, too
	learnAt  time.Time    // when to find out, zero until something is shipped
	retainAt time.Time    // when there may be files to delete, zero for never
	ready    []*levelFile // acknowledged up to their TXIDs, to be uploaded
	tending  bool         // somebody does, and has the first of them
	closed   bool         // nobody may begin to
}

// A level is what one level lacks.
type level struct {
	number int
	every  time.Duration
	max    format.TXID     // the newest TXID that its files hold, or that it begins after
	pages  *roaring.Bitmap // changed since; of snapshots, only whether there are any
	due    time.Time       // when a file is to be made, zero if there is nothing to put into one
	cut    *levelFile      // that was cut and is not there yet
}

// A levelFile is a file of a higher level on its way to the replica.
type levelFile struct {
	level *level
	log   int // of the levels when it was cut
	taken *roaring.Bitmap
	min   format.TXID
	max   format.TXID
	time  time.Time
	body  *spool
	count uint64 // pages in it
}

func newLevels(p Policy) *levels {
	l := &levels{policy: p}
	for i, every := range p.Levels {
		l.list = append(l.list, &level{number: i + 1, every: every, pages: roaring.New()})
	}
	if p.Snapshots > 0 {
		l.list = append(l.list, &level{number: format.LevelSnapshot, every: p.Snapshots, pages: roaring.New()})
	}
	return l
}

// begin is told the replica's tip, 0 for none.
func (l *levels) begin(tip format.TXID, at time.Time) {
	l.forget()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.from, l.fromTime, l.known = tip, at, tip == 0
	for _, v := range l.list {
		v.max = tip
	}
}

// forget drops what was cut, and what is known: the bucket may be another one.
func (l *levels) forget() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.log++
	for _, v := range l.list {
		v.cut, v.due = nil, time.Time{}
		v.pages.Clear()
	}
	l.learnAt = time.Time{}
	first := 0
	if l.tending {
		first = min(1, len(l.ready))
	}
	for _, f := range l.ready[first:] {
		f.body.Close()
	}
	l.ready = l.ready[:first]
}

// isOld reports whether a file is of another log.
func (l *levels) isOld(f *levelFile) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return f.log != l.log
}

// add is told an acknowledged level 0 file.
func (l *levels) add(txid format.TXID, info CutInfo, now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.known && l.learnAt.IsZero() && len(l.list) > 0 {
		l.learnAt = now.Add(l.list[0].every)
		if now.Sub(l.fromTime) > l.list[0].every {
			l.learnAt = now // short runs, too, compact what earlier ones left
		}
	}
	whole := isLarge(info)
	for _, v := range l.list {
		if v.cut != nil && v.cut.max == txid {
			continue // has them
		}
		if whole && v.number != format.LevelSnapshot {
			v.max, v.due = txid, time.Time{}
			v.pages.Clear()
			continue
		}
		v.add(info.Pages, now.Add(v.every))
	}
}

// add makes pages part of the next file, which is to be made at due, if not before.
func (v *level) add(pages *roaring.Bitmap, due time.Time) {
	if v.number != format.LevelSnapshot {
		v.pages.Or(pages)
	}
	if v.due.IsZero() || due.Before(v.due) {
		v.due = due
	}
}

// large is the size in bytes from which on a file that holds every page is not
// compacted.
var large int64 = 64 << 20

// isLarge reports whether a cut holds every page, and is large.
func isLarge(info CutInfo) bool {
	if info.Same || int64(info.Commit)*int64(info.PageSize) < large {
		return false
	}
	all := uint64(info.Commit)
	if format.LockPage(info.PageSize) <= info.Commit {
		all--
	}
	return info.Pages.GetCardinality() == all
}

// due returns the levels that a file is to be made for now, at most. It need not be.
func (l *levels) due(now time.Time) (due []*level) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.known {
		return nil
	}
	for _, v := range l.list {
		if v.cut == nil && !v.due.IsZero() && !now.Before(v.due) {
			due = append(due, v)
		}
	}
	return due
}

// take begins a file that holds all up to a TXID, pages of which are in no level 0
// file yet.
func (l *levels) take(v *level, txid format.TXID, at time.Time) *levelFile {
	l.mu.Lock()
	defer l.mu.Unlock()
	f := &levelFile{level: v, log: l.log, taken: v.pages, min: v.max + 1, max: txid, time: at}
	if v.number == format.LevelSnapshot {
		f.min = 1
	}
	v.cut, v.pages, v.due = f, roaring.New(), time.Time{}
	return f
}

// abandon is told that files are not to be: there will be another level 0 file of
// their TXID. They may still be in the making.
func (l *levels) abandon(files []*levelFile, now time.Time) {
	for _, f := range files {
		l.putBack(f, f.taken, now)
	}
}

// giveBack is told that a file cannot be made. The pages of the level 0 file of its
// TXID, which is there, go back with what it took.
func (l *levels) giveBack(f *levelFile, raw *roaring.Bitmap, due time.Time) {
	f.body.Close()
	l.putBack(f, roaring.Or(f.taken, raw), due)
}

func (l *levels) putBack(f *levelFile, pages *roaring.Bitmap, due time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if f.log != l.log {
		return
	}
	f.level.cut = nil
	if f.level.number == format.LevelSnapshot || f.level.max < f.min { // not begun anew since
		f.level.add(pages, due)
	}
}

// postpone has files be made a little later: others are being made.
func (l *levels) postpone(due []*level, now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, v := range due {
		v.due = now.Add(time.Second + rand.N(2*time.Second))
	}
}

// retry is how long to wait before a file is made that could not be.
func (v *level) retry() time.Duration { return max(10*time.Second, min(v.every/10, 10*time.Minute)) }

// done is told that the first of the files that are ready is there, or not needed.
func (l *levels) done(f *levelFile, now time.Time) {
	f.body.Close()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ready = l.ready[1:]
	if f.log != l.log {
		return
	}
	f.level.cut = nil
	f.level.max = max(f.level.max, f.max)
	if l.policy.Keep > 0 && l.retainAt.IsZero() {
		l.retainAt = now.Add(l.policy.KeepRaw)
	}
}

// next returns when there is something to do without a commit, zero for never.
func (l *levels) next() (next time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	sooner := func(t time.Time) {
		if !t.IsZero() && (next.IsZero() || t.Before(next)) {
			next = t
		}
	}
	if l.tending {
		return next // who tends will ask again
	}
	sooner(l.retainAt)
	if !l.known {
		sooner(l.learnAt)
		return next
	}
	for _, v := range l.list {
		if v.cut == nil {
			sooner(v.due)
		}
	}
	return next
}
