package shipping

import (
	"context"
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
	list   []*level // 1, 2, ... and then that of snapshots
	learn  *job     // finds out what they lack of earlier runs
	look   *job     // finds out whether the replica is still what it was
	retain *job     // deletes what is not kept

	mu        sync.Mutex
	log       int             // counts begins: what is from another log than the replica's now does not count
	from      format.TXID     // the tip at the start: sets hold only what came after it, until known
	fromTime  time.Time       // of the tip at the start
	begun     time.Time       // the start, by a clock that does not jump
	known     bool            // sets hold what was there at the start, too
	firstAck  time.Time       // when the first file was acknowledged
	overdue   bool            // what earlier runs left is due by its age
	held      held            // what the last listing had
	deletions int             // that began, and that ended
	base      format.FileInfo // a file that holds everything up to its end, and has to be there
	vanished  error           // files that had to be there were not; the next snapshot mends it
}

// A level is what one level lacks.
type level struct {
	number int
	every  time.Duration // 0: only when it is needed
	job    *job
	max    format.TXID     // the newest TXID that its files hold, or that it begins after
	pages  *roaring.Bitmap // changed since; none are noted for snapshots
	since  time.Time       // of the oldest change that it lacks, zero if it lacks nothing
	asked  chan made       // the job waits for a file, nil if it does not
	cut    *levelFile      // that was cut and is not there yet
	ready  *levelFile      // the same, if it is to be uploaded
}

// A levelFile is a file of a higher level on its way to the replica.
type levelFile struct {
	level *level
	log   int // of the levels when it was cut
	taken *roaring.Bitmap
	since time.Time
	min   format.TXID
	max   format.TXID
	time  time.Time
	body  *spool
	count uint64 // pages in it
}

// made is the answer to a level that asks for a file: nil if it needs none any more.
type made struct {
	file *levelFile
	err  error
}

// newLevels makes the levels and the jobs that see to them.
func (s *Shipper) newLevels() *levels {
	l := &levels{policy: s.opts.Policy}
	add := func(number int, every time.Duration) {
		v := &level{number: number, every: every, pages: roaring.New()}
		v.job = s.background(v.name(), v.longestPause(), func(ctx context.Context) error { return s.makeLevel(ctx, v) })
		l.list = append(l.list, v)
	}
	for i, every := range l.policy.Levels {
		add(i+1, every)
	}
	add(format.LevelSnapshot, l.policy.Snapshots)
	chore := func(name string, longest time.Duration, do func(context.Context) error) *job {
		return s.background(name, longest, func(ctx context.Context) error { return s.inTurn(ctx, choreTime, do) })
	}
	l.learn = chore("learning", time.Minute, s.learn)
	l.look = chore("looking", time.Minute, s.look)
	l.retain = chore("retention", 10*time.Minute, s.retain)
	return l
}

// isEmpty reports whether the policy has no files of levels made.
func (l *levels) isEmpty() bool { return len(l.policy.Levels) == 0 && l.policy.Snapshots == 0 }

// begin is told the replica's tip, 0 for none.
func (l *levels) begin(tip format.TXID, at time.Time) {
	l.forget()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.from, l.fromTime, l.begun, l.known = tip, at, time.Now(), tip == 0
	if tip == 0 {
		l.fromTime = l.begun
	}
	for _, v := range l.list {
		v.max = tip
	}
}

// forget drops what was cut, and what is known: the bucket may be another one.
func (l *levels) forget() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.log++
	l.base, l.vanished, l.held = format.FileInfo{}, nil, held{}
	for _, v := range l.list {
		v.cut = nil
		v.anew()
	}
	for _, j := range []*job{l.learn, l.look} {
		j.drop()
	}
}

// anew has a level lack nothing.
func (v *level) anew() {
	v.since = time.Time{}
	v.pages.Clear()
	v.job.drop()
	v.answer(made{})
}

// answer ends the wait for a file. levels.mu must be held.
func (v *level) answer(m made) (taken bool) {
	if v.asked == nil {
		return false
	}
	v.asked <- m
	v.asked = nil
	return true
}

// isOld reports whether a file is of another log.
func (l *levels) isOld(f *levelFile) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return f.log != l.log
}

// added is told an acknowledged level 0 file.
func (l *levels) added(txid format.TXID, info CutInfo, now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.firstAck.IsZero() {
		l.firstAck = now
	}
	if !l.known && !l.isEmpty() {
		at := l.toLearn(txid, now)
		l.overdue = l.overdue || !now.Before(at)
		l.learn.due(at)
	}
	whole := isLarge(info)
	for _, v := range l.list {
		switch {
		case v.cut != nil && v.cut.max == txid: // has them
		case v.every == 0:
		case whole && v.number != format.LevelSnapshot:
			v.max = txid
			v.anew()
		default:
			l.lacks(v, info.Pages, now)
		}
	}
}

// isShort is for [Shipper.IsShort].
func (l *levels) isShort(now time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return !l.isEmpty() && l.overdue && now.Sub(l.firstAck) < l.list[0].every
}

// shortRun is after how many TXIDs runs that are too short for level 1 compact what they
// and earlier ones left: what is younger than half a minute each is near altogether.
const shortRun = 4

// toLearn returns when to find out what the levels lack of earlier runs: there is no
// hurry if those may just have made a file of level 1. Short runs, too, compact.
func (l *levels) toLearn(txid format.TXID, now time.Time) time.Time {
	if first := l.list[0].every; now.Sub(l.fromTime) < first && txid%shortRun != 0 {
		return now.Add(first)
	}
	return now
}

// lacks notes pages that changed at a time, which the next file of a level has to hold.
// l.mu must be held.
func (l *levels) lacks(v *level, pages *roaring.Bitmap, since time.Time) {
	if v.number != format.LevelSnapshot {
		v.pages.Or(pages)
	}
	if v.since.IsZero() || since.Before(v.since) {
		v.since = since
	}
	if l.known {
		v.job.due(v.due())
	}
}

// due is when a file is to be made of what a level lacks.
func (v *level) due() time.Time { return v.since.Add(v.every) }

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

// ask has the next cut make a file for a level. It returns nil if none is due.
func (l *levels) ask(v *level) <-chan made {
	l.mu.Lock()
	defer l.mu.Unlock()
	if v.since.IsZero() || !l.known {
		return nil
	}
	if due := v.due(); time.Now().Before(due) {
		v.job.due(due)
		return nil
	}
	v.asked = make(chan made, 1)
	return v.asked
}

// asking returns the levels that wait for a file.
func (l *levels) asking() (levels []*level) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, v := range l.list {
		if v.asked != nil && v.cut == nil {
			levels = append(levels, v)
		}
	}
	return levels
}

// refuse answers levels that they cannot have a file now.
func (l *levels) refuse(levels []*level, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, v := range levels {
		v.answer(made{err: err})
	}
}

// take begins a file that holds all up to a TXID, pages of which are in no level 0
// file yet.
func (l *levels) take(v *level, txid format.TXID, at time.Time) *levelFile {
	l.mu.Lock()
	defer l.mu.Unlock()
	f := &levelFile{level: v, log: l.log, taken: v.pages, since: v.since, min: v.max + 1, max: txid, time: at}
	if v.number == format.LevelSnapshot {
		f.min = 1
	}
	v.cut, v.pages, v.since = f, roaring.New(), time.Time{}
	return f
}

// abandon is told that files are not to be: there will be another level 0 file of
// their TXID, and they are made with that. They may still be in the making.
func (l *levels) abandon(files []*levelFile) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, f := range files {
		l.putBack(f, f.taken)
	}
}

// giveBack is told that a file cannot be made. The pages of the level 0 file of its
// TXID, which is there, go back with what it took.
func (l *levels) giveBack(f *levelFile, raw *roaring.Bitmap, err error) {
	f.body.Close()
	l.mu.Lock()
	defer l.mu.Unlock()
	if f.log == l.log {
		l.putBack(f, roaring.Or(f.taken, raw))
		f.level.answer(made{err: err})
	}
}

// putBack puts pages back into what a level lacks. l.mu must be held.
func (l *levels) putBack(f *levelFile, pages *roaring.Bitmap) {
	if f.log != l.log {
		return
	}
	f.level.cut = nil
	if f.level.number == format.LevelSnapshot || f.level.max < f.min { // not begun anew since
		l.lacks(f.level, pages, f.since)
	}
}

// hand gives a level the file that it asked for. Nobody may want it any more.
func (l *levels) hand(f *levelFile) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if v := f.level; f.log == l.log {
		if v.asked != nil {
			v.ready = f
			v.answer(made{file: f})
			return
		}
		v.cut = nil // it began anew meanwhile
	}
	f.body.Close()
}

// uploaded is told that a file is there, or not needed.
func (l *levels) uploaded(f *levelFile, now time.Time) {
	f.body.Close()
	l.mu.Lock()
	defer l.mu.Unlock()
	f.level.ready = nil
	if f.log != l.log {
		return
	}
	f.level.cut = nil
	f.level.max = max(f.level.max, f.max)
	if f.min == 1 && f.max >= l.base.MaxTXID {
		l.base = format.FileInfo{Level: f.level.number, MinTXID: 1, MaxTXID: f.max}
	}
	if f.level.number == format.LevelSnapshot {
		l.vanished = nil
	}
	if f.level == l.list[0] {
		l.look.due(now)
	}
	if l.policy.Keep > 0 {
		l.retain.due(now.Add(l.policy.KeepRaw))
	}
}

// close lets go of what was made and not uploaded.
func (l *levels) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, v := range l.list {
		if v.ready != nil {
			v.ready.body.Close()
			v.ready = nil
		}
	}
}
