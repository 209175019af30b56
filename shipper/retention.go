package shipper

import (
	"context"
	"slices"
	"time"

	"github.com/walvfs/walvfs/format"
)

// retain deletes what the policy does not keep. It decides from a fresh listing, and
// only if nobody else is ahead: another writer has a policy of its own.
//
// A crash in between leaves files that the next time finds. Whoever restores
// meanwhile by a plan with a file that is gone makes another plan.
func (s *Shipper) retain(ctx context.Context) error {
	began := time.Now()
	files, err := s.list(ctx)
	if err != nil {
		return err
	}
	var out []object
	var again bool
	if newestTXID(files) <= s.Status().Tip.TXID+1 { // one more may be on its way
		out, again = expired(files, s.opts.Policy, s.storeTime(files, began))
	}
	keys := make([]string, len(out))
	for i, f := range out {
		keys[i] = s.store.Layout().Key(f.Level, f.MinTXID, f.MaxTXID)
	}
	if len(keys) > 0 && elapsed(began) < lateAfter { // not asleep in between
		if err := s.store.Delete(ctx, keys...); err != nil {
			return err
		}
		s.log.Debug("deleted what is not kept", "files", len(keys))
		s.emit(Deleted{len(keys)})
	}
	s.levels.retained(again, time.Now())
	return nil
}

// storeTime returns the time by this machine's clock or the store's, whichever is
// earlier: a clock that has jumped ahead must not make files expire.
func (s *Shipper) storeTime(files []object, now time.Time) time.Time {
	var newest time.Time
	for _, f := range files {
		if f.age.After(newest) {
			newest = f.age
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if byStore := newest.Add(now.Sub(s.ackedAt)); byStore.Before(now) {
		return byStore
	}
	return now
}

// retained is told whether there are files that expire without anything being
// uploaded.
func (l *levels) retained(again bool, now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.retainAt = time.Time{}
	if again {
		l.retainAt = now.Add(l.policy.KeepRaw)
	}
}

// expired returns the files that a policy does not keep:
//
//	level 0      kept for KeepRaw after a file of level 1 to 8 compacts it that ends
//	             near it, and else while a point in time that is kept may need it;
//	             the newest one always
//	level 1 to 8 kept while a point in time that is kept may need them
//	from TXID 1  kept for Keep, and the newest one before that
//
// It returns nothing if a TXID that a remaining file ends with could no longer be
// restored. It also reports whether level 0 files expire later by themselves.
func expired(files []object, p Policy, now time.Time) (out []object, again bool) {
	base, ok := oldestBase(files, now.Add(-p.Keep))
	if !ok {
		return nil, false
	}
	tip := newestTXID(files)
	var raw, rest []object
	for _, f := range files {
		switch {
		case f.MaxTXID == tip, f.MinTXID == 1 && f.MaxTXID >= base:
			rest = append(rest, f)
		case f.Level == format.LevelRaw:
			raw = append(raw, f)
		case f.MaxTXID > base:
			rest = append(rest, f)
		default:
			out = append(out, f)
		}
	}
	compacted := slices.DeleteFunc(slices.Clone(rest), func(f object) bool {
		return f.Level == format.LevelRaw || f.Level == format.LevelSnapshot && f.MaxTXID != base
	})
	for _, f := range raw {
		switch at, ok := coveredSince(f, compacted, base); {
		case ok && !at.After(now.Add(-p.KeepRaw)):
			out = append(out, f)
		default:
			rest = append(rest, f)
			again = again || ok && !at.After(now)
		}
	}
	if !leadsTo(rest, infos(files)) {
		return nil, false
	}
	return out, again
}

// near is the time within which one state stands for another. A file of level 1 may
// span more, where the application rested or the process did: what was the newest
// state for hours stays.
const near = 2 * time.Minute

// coveredSince returns since when another file has held what a file does, and ends
// near it, or is the base, before which no state is promised.
func coveredSince(f object, by []object, base format.TXID) (at time.Time, ok bool) {
	for _, g := range by {
		if g.age.Sub(f.age) > near && g.MaxTXID != base {
			continue
		}
		if g.MinTXID <= f.MinTXID && f.MaxTXID <= g.MaxTXID && (!ok || g.age.Before(at)) {
			at, ok = g.age, true
		}
	}
	return at, ok
}

func newestTXID(files []object) (newest format.TXID) {
	for _, f := range files {
		newest = max(newest, f.MaxTXID)
	}
	return newest
}

// oldestBase returns the end of the oldest file from TXID 1 that is to be kept: the
// newest one that was there at a time, or the oldest one if none was.
func oldestBase(files []object, at time.Time) (base format.TXID, ok bool) {
	var before, after format.TXID
	for _, f := range files {
		switch {
		case f.MinTXID != 1:
		case !f.age.After(at):
			before = max(before, f.MaxTXID)
		case after == 0 || f.MaxTXID < after:
			after = f.MaxTXID
		}
	}
	if before != 0 {
		return before, true
	}
	return after, after != 0
}

// leadsTo reports whether each remaining file's end can be restored as before.
func leadsTo(rest []object, all []format.FileInfo) bool {
	was, is := format.Restorable(all), format.Restorable(infos(rest))
	for _, f := range rest {
		_, before := slices.BinarySearch(was, f.MaxTXID)
		_, after := slices.BinarySearch(is, f.MaxTXID)
		if before && !after {
			return false
		}
	}
	return true
}

func infos(files []object) []format.FileInfo {
	a := make([]format.FileInfo, len(files))
	for i, f := range files {
		a[i] = f.FileInfo
	}
	return a
}
