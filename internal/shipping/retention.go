package shipping

import (
	"context"
	"slices"
	"time"

	"github.com/walvfs/walvfs/format"
	"github.com/walvfs/walvfs/shipper"
	"github.com/walvfs/walvfs/shipper/replica"
)

// retain deletes files that the policy does not keep. It decides from a fresh listing,
// and only if no other writer is ahead: another writer has a policy of its own.
//
// After a crash in between, the next run finds the remaining files. A restore whose plan
// has a deleted file makes a new plan.
func (s *Shipper) retain(ctx context.Context) error {
	began := time.Now()
	files, err := s.list(ctx)
	if err != nil {
		return err
	}
	out, again := s.expired(files, began)
	keys := make([]string, len(out))
	for i, f := range out {
		keys[i] = s.replica.Key(f.FileInfo)
	}
	if len(keys) > 0 && elapsed(began) < lateAfter { // the machine did not sleep in between
		ended := s.levels.deletes(out)
		err := s.store.Delete(ctx, keys...)
		ended(err)
		if err != nil {
			return err
		}
		s.log.Debug("deleted expired files", "files", len(keys))
		s.emit(shipper.Deleted{Files: len(keys)})
	}
	s.levels.keeps(false, again, time.Now())
	return nil
}

// expired returns the files that the policy does not keep, and whether other files will
// expire by themselves. It returns none if another writer is ahead or files are missing.
func (s *Shipper) expired(files replica.Files, began time.Time) (out replica.Files, again bool) {
	if files.Newest() > s.Tip().TXID+1 || s.levels.hasVanished() != nil { // one more may be on its way
		return nil, false
	}
	return expired(files, s.opts.Policy, s.storeTime(files, began))
}

// hasVanished returns the error about missing files, until a snapshot has replaced them.
func (l *levels) hasVanished() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.vanished
}

// keeps schedules retention: at once if files are expired, and later if again reports
// that files expire without a further upload.
func (l *levels) keeps(expired, again bool, now time.Time) {
	switch {
	case l.policy.Keep == 0:
	case expired:
		l.retain.due(now)
	case again:
		l.retain.due(now.Add(l.policy.KeepRaw))
	}
}

// storeTime returns the earliest of three times: this machine's clock, the store's, and
// the time that has passed while a writer replicated. A clock that has jumped ahead must
// not make files expire.
func (s *Shipper) storeTime(files replica.Files, now time.Time) time.Time {
	var newest time.Time
	for _, f := range files {
		if f.Written.After(newest) {
			newest = f.Written
		}
	}
	s.levels.mu.Lock()
	defer s.levels.mu.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	by := []time.Time{now, newest.Add(now.Sub(s.ackedAt)), s.levels.served(now)}
	return slices.MinFunc(by, time.Time.Compare)
}

// served returns the time of the replica's tip at the start plus the time that has passed
// since, by the monotonic clock.
func (l *levels) served(now time.Time) time.Time {
	return l.fromTime.Add(now.Sub(l.begun))
}

// expired returns the files that a policy does not keep:
//
//	level 0      kept for KeepRaw after a file of level 1 to 8 that ends near it
//	             compacts it, otherwise while a kept point in time may need it;
//	             the newest file always
//	level 1 to 8 kept while a kept point in time may need them
//	from TXID 1  kept for Keep, and the newest such file before that
//
// It returns nothing if a TXID that a remaining file ends with could no longer be
// restored. It also reports whether level 0 files expire later by themselves.
func expired(files replica.Files, p Policy, now time.Time) (out replica.Files, again bool) {
	base, ok := oldestBase(files, now.Add(-p.Keep))
	if !ok {
		return nil, false
	}
	tip := files.Newest()
	var raw, rest replica.Files
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
	compacted := slices.DeleteFunc(slices.Clone(rest), func(f replica.File) bool {
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
	if !leadsTo(rest, files) {
		return nil, false
	}
	return out, again
}

// near is the time within which one state stands for another. A file of level 1 may span
// more if the application or the process rested: a state that was the newest for hours is
// kept.
const near = 2 * time.Minute

// coveredSince returns since when another file has held the changes of f. That file must
// end near f, or be the base, before which no state is promised.
func coveredSince(f replica.File, by replica.Files, base format.TXID) (at time.Time, ok bool) {
	for _, g := range by {
		if g.Written.Sub(f.Written) > near && g.MaxTXID != base {
			continue
		}
		if g.MinTXID <= f.MinTXID && f.MaxTXID <= g.MaxTXID && (!ok || g.Written.Before(at)) {
			at, ok = g.Written, true
		}
	}
	return at, ok
}

// oldestBase returns the end of the oldest file from TXID 1 that is kept: the newest such
// file that existed at a time, or the oldest one if none did.
func oldestBase(files replica.Files, at time.Time) (base format.TXID, ok bool) {
	var before, after format.TXID
	for _, f := range files {
		switch {
		case f.MinTXID != 1:
		case !f.Written.After(at):
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
func leadsTo(rest replica.Files, all replica.Files) bool {
	was, is := all.Restorable(), rest.Restorable()
	for _, f := range rest {
		_, before := slices.BinarySearch(was, f.MaxTXID)
		_, after := slices.BinarySearch(is, f.MaxTXID)
		if before && !after {
			return false
		}
	}
	return true
}
