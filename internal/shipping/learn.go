package shipping

import (
	"context"
	"errors"
	"maps"
	"slices"
	"time"

	"github.com/RoaringBitmap/roaring/v2"

	"github.com/walvfs/walvfs/format"
	"github.com/walvfs/walvfs/shipper/replica"
)

// mostLearned is how many page indexes are read to find out what a level lacks. If it
// needs more files, a snapshot is made instead.
const mostLearned = 1000

// learn finds out which older pages of the replica the levels lacked when this run began,
// from the page indexes of the files.
func (s *Shipper) learn(ctx context.Context) error {
	l := s.levels
	l.mu.Lock()
	log, from := l.log, l.from
	l.mu.Unlock()
	began := time.Now()
	files, err := s.list(ctx)
	if err != nil {
		return err
	}
	lacks := make([]lack, len(l.list))
	indexes := map[format.FileInfo]*roaring.Bitmap{}
	for i, v := range l.list {
		if lacks[i], err = s.lackOf(ctx, v, from, files, indexes); err != nil {
			return err
		}
	}
	out, again := s.expired(files, began)
	l.learned(lacks, log, time.Now())
	l.keeps(len(out) > 0, again, time.Now())
	return nil
}

// A lack describes what a level lacks after a TXID.
type lack struct {
	after format.TXID
	pages *roaring.Bitmap // nil if the pages cannot be found out
	since time.Time       // when the oldest file that it lacks was written, zero for none
}

// lackOf reads the page indexes of the files that a level lacks. It avoids a damaged file
// if other files hold its TXIDs.
func (s *Shipper) lackOf(ctx context.Context, v *level, from format.TXID, files replica.Files, indexes map[format.FileInfo]*roaring.Bitmap) (lack, error) {
	after, since := newestOf(v, files, from)
	if v.number == format.LevelSnapshot {
		return lack{after, roaring.New(), since}, nil
	}
	for {
		chain, ok := chainOf(v.number, files, after, from)
		if !ok {
			return lack{after: from}, nil
		}
		pages, since, err := s.pagesOf(ctx, chain, indexes)
		if bad, ok := errors.AsType[*replica.Damaged](err); ok {
			s.log.Warn("file is damaged, reading other files instead", "key", s.replica.Key(bad.File), "error", bad.Err)
			files = files.Without(bad.File)
			continue
		}
		return lack{after, pages, since}, err
	}
}

// pagesOf returns the pages that files hold, and when the oldest of the files was
// written.
func (s *Shipper) pagesOf(ctx context.Context, chain replica.Files, indexes map[format.FileInfo]*roaring.Bitmap) (all *roaring.Bitmap, since time.Time, err error) {
	all = roaring.New()
	for _, f := range chain {
		pages := indexes[f.FileInfo]
		if pages == nil {
			index, err := s.replica.Index(ctx, f.FileInfo)
			if err != nil {
				return nil, since, err
			}
			pages = roaring.New()
			for e := range index.All() {
				pages.Add(e.Number)
			}
			indexes[f.FileInfo] = pages
		}
		all.Or(pages)
		if since.IsZero() || f.Written.Before(since) {
			since = f.Written
		}
	}
	return all, since, nil
}

// newestOf returns the TXID with which a level's files end. A file from TXID 1 holds
// everything: no level need begin before the newest such file. For snapshots, newestOf
// also returns when the newest snapshot was made.
func newestOf(v *level, files replica.Files, tip format.TXID) (after format.TXID, made time.Time) {
	for _, f := range files {
		if (f.Level == v.number || f.MinTXID == 1) && f.MaxTXID <= tip && f.MaxTXID > after {
			after, made = f.MaxTXID, f.Written
		}
	}
	return after, made
}

// chainOf returns files of lower levels that lead from one TXID to another. It reports
// false if there is a gap, or if there are too many files.
func chainOf(number int, files replica.Files, from, to format.TXID) (chain replica.Files, ok bool) {
	lower := map[format.FileInfo]replica.File{}
	for _, f := range files {
		if f.Level < number {
			lower[f.FileInfo] = f
		}
	}
	for _, f := range format.PlanFrom(slices.Collect(maps.Keys(lower)), from, to) {
		chain, from = append(chain, lower[f]), f.MaxTXID
	}
	return chain, from >= to && len(chain) <= mostLearned
}

// learned adds to the levels the pages that they lacked at the start.
func (l *levels) learned(lacks []lack, log int, now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.known || l.log != log {
		return
	}
	l.known = true
	unknown := false
	for i, v := range l.list {
		k := lacks[i]
		snapshot := v.number == format.LevelSnapshot
		switch {
		case k.pages == nil:
			unknown = true
		case snapshot && k.after < l.from && v.every > 0:
			l.lacks(v, k.pages, orAtOnce(k.since, v, now))
		case snapshot, v.max > l.from: // a file with every page was made meanwhile
		default:
			v.max = k.after
			if k.after < l.from {
				l.lacks(v, k.pages, orAtOnce(k.since, v, now))
			}
		}
		if snapshot && unknown {
			l.needs(v, now) // the levels begin after the snapshot
		}
	}
	for _, v := range l.list { // note the changes since the start
		if !v.since.IsZero() {
			v.job.due(v.due())
		}
	}
}

// orAtOnce returns since when a level has lacked changes. The time may come from a clock
// that is ahead; if it is unknown, the level's file is due at once.
func orAtOnce(since time.Time, v *level, now time.Time) time.Time {
	if since.IsZero() {
		return now.Add(-v.every)
	}
	if since.After(now) {
		return now
	}
	return since
}

// needs makes a file of a level due at once. l.mu must be held.
func (l *levels) needs(v *level, now time.Time) { l.lacks(v, roaring.New(), now.Add(-v.every)) }
