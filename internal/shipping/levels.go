package shipping

import (
	"context"
	"sync"
	"time"

	"github.com/RoaringBitmap/roaring/v2"

	"github.com/walvfs/walvfs/format"
)

// levels tracks which pages the next file of each higher level must hold: the pages of
// the level 0 files since the level's newest file. After a large file with every page,
// the levels start over: that file, and all files before it, stay in the replica until
// snapshots are older. They are not uploaded once more at each level.
type levels struct {
	policy Policy
	list   []*level // levels 1, 2, ..., then the level of snapshots
	learn  *job     // finds out what the levels lack of earlier runs
	look   *job     // checks that the replica still exists
	retain *job     // deletes files that the policy does not keep

	mu        sync.Mutex
	log       int             // counts calls of forget: files of an earlier log do not count
	from      format.TXID     // the tip at the start: until known, sets hold only later changes
	fromTime  time.Time       // time of the tip at the start
	begun     time.Time       // the start, by the monotonic clock
	known     bool            // sets also hold the changes from before the start
	firstAck  time.Time       // when the first file was acknowledged
	overdue   bool            // files that earlier runs left are due by their age
	held      held            // the files of the last listing
	deletions int             // begun and ended deletions, counted
	base      format.FileInfo // a file that holds everything up to its end, and must exist
	vanished  error           // set if required files of the replica are missing; the next snapshot replaces them
}

// A level tracks which changes the files of one level lack.
type level struct {
	number int
	every  time.Duration // 0: only when it is needed
	job    *job
	max    format.TXID     // the newest TXID that its files hold, or after which it begins
	pages  *roaring.Bitmap // changed since max; not tracked for snapshots
	since  time.Time       // time of the oldest change that it lacks, zero if it lacks none
	asked  chan made       // not nil while the job waits for a file
	cut    *levelFile      // was cut, and is not in the replica yet
	ready  *levelFile      // the same file, when it is ready to be uploaded
}

// A levelFile is a file of a higher level on its way to the replica.
type levelFile struct {
	level *level
	log   int // levels.log when it was cut
	taken *roaring.Bitmap
	since time.Time
	min   format.TXID
	max   format.TXID
	time  time.Time
	body  *spool
	count uint64 // pages in it
}

// made answers a level that asked for a file: the file is nil if the level no longer
// needs one.
type made struct {
	file *levelFile
	err  error
}

// newLevels makes the levels and their jobs.
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

// isEmpty reports whether the policy has no levels and no snapshots.
func (l *levels) isEmpty() bool { return len(l.policy.Levels) == 0 && l.policy.Snapshots == 0 }

// begin sets the replica's tip, 0 for none.
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

// forget drops the cut files and the knowledge of the replica: the bucket may be new.
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

// anew makes a level lack nothing.
func (v *level) anew() {
	v.since = time.Time{}
	v.pages.Clear()
	v.job.drop()
	v.answer(made{})
}

// answer ends the job's wait for a file. levels.mu must be held.
func (v *level) answer(m made) (taken bool) {
	if v.asked == nil {
		return false
	}
	v.asked <- m
	v.asked = nil
	return true
}

// isOld reports whether a file belongs to an earlier log.
func (l *levels) isOld(f *levelFile) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return f.log != l.log
}

// added notes an acknowledged level 0 file.
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
		case v.cut != nil && v.cut.max == txid: // holds the pages
		case v.every == 0:
		case whole && v.number != format.LevelSnapshot:
			v.max = txid
			v.anew()
		default:
			l.lacks(v, info.Pages, now)
		}
	}
}

// isShort implements [Shipper.IsShort].
func (l *levels) isShort(now time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return !l.isEmpty() && l.overdue && now.Sub(l.firstAck) < l.list[0].every
}

// shortRun is the number of TXIDs after which runs that are too short for level 1 compact
// their files and those of earlier runs: if each TXID comes less than half a minute after
// the TXID before, all are within near.
const shortRun = 4

// toLearn returns when to find out what the levels lack of earlier runs: later, if those
// may just have made a file of level 1. Short runs compact, too.
func (l *levels) toLearn(txid format.TXID, now time.Time) time.Time {
	if first := l.list[0].every; now.Sub(l.fromTime) < first && txid%shortRun != 0 {
		return now.Add(first)
	}
	return now
}

// lacks notes pages that changed at a time, and that the next file of a level must hold.
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

// due returns when the level's next file is due.
func (v *level) due() time.Time { return v.since.Add(v.every) }

// large is the size in bytes from which on a file with every page is not compacted.
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

// ask requests a file for a level from the next cut. It returns nil if no file is due.
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

// refuse answers the levels' requests with an error.
func (l *levels) refuse(levels []*level, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, v := range levels {
		v.answer(made{err: err})
	}
}

// take begins a file that holds all changes up to a TXID, including pages that no level 0
// file holds yet.
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

// abandon gives up files whose level 0 file was abandoned: another level 0 file will get
// their TXID, and they are made with that file. Their encoding may not have ended yet.
func (l *levels) abandon(files []*levelFile) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, f := range files {
		l.putBack(f, f.taken)
	}
}

// giveBack gives up a file that cannot be made. The pages of the level 0 file of its
// TXID, which the replica has, go back together with the pages that it took.
func (l *levels) giveBack(f *levelFile, raw *roaring.Bitmap, err error) {
	f.body.Close()
	l.mu.Lock()
	defer l.mu.Unlock()
	if f.log == l.log {
		l.putBack(f, roaring.Or(f.taken, raw))
		f.level.answer(made{err: err})
	}
}

// putBack makes a level lack pages again. l.mu must be held.
func (l *levels) putBack(f *levelFile, pages *roaring.Bitmap) {
	if f.log != l.log {
		return
	}
	f.level.cut = nil
	if f.level.number == format.LevelSnapshot || f.level.max < f.min { // has not started over since
		l.lacks(f.level, pages, f.since)
	}
}

// hand gives a level the file that it asked for, unless the level no longer needs it.
func (l *levels) hand(f *levelFile) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if v := f.level; f.log == l.log {
		if v.asked != nil {
			v.ready = f
			v.answer(made{file: f})
			return
		}
		v.cut = nil // the level started over meanwhile
	}
	f.body.Close()
}

// uploaded notes that the replica has a file, or does not need it.
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

// close drops the files that were made and not uploaded.
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
