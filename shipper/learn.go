package shipper

import (
	"context"
	"errors"
	"time"

	"github.com/RoaringBitmap/roaring/v2"

	"github.com/walvfs/walvfs/format"
)

// An object is a file of the replica as a listing has it.
type object struct {
	format.FileInfo
	age time.Time // when it was written, as the store says
}

// list lists every file of the replica.
func (s *Shipper) list(ctx context.Context) (files []object, err error) {
	layout := s.store.Layout()
	for obj, err := range s.store.List(ctx, layout.Prefix(), "") {
		if err != nil {
			return nil, err
		}
		if f, ok := layout.Parse(obj.Key); ok {
			f.Size = obj.Size
			files = append(files, object{f, obj.ModTime})
		}
	}
	return files, nil
}

// mostLearned is how many files are looked at to find out what a level lacks. If
// there are more, a snapshot comes instead.
const mostLearned = 1000

// learn finds out what the levels lack of what was in the replica when this run
// began, from the page indexes of the files that they lack.
func (s *Shipper) learn(ctx context.Context) error {
	l := s.levels
	l.mu.Lock()
	log, from := l.log, l.from
	l.mu.Unlock()
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
	l.learned(lacks, log, time.Now())
	return nil
}

// A lack is what a level lacks after a TXID.
type lack struct {
	after format.TXID
	pages *roaring.Bitmap // nil if that cannot be told
	since time.Time       // of the oldest file that it lacks, zero for none
}

func (s *Shipper) lackOf(ctx context.Context, v *level, from format.TXID, files []object, indexes map[format.FileInfo]*roaring.Bitmap) (lack, error) {
	after, since := newestOf(v, files, from)
	if v.number == format.LevelSnapshot {
		return lack{after, roaring.New(), since}, nil
	}
	out := lack{after: after, pages: roaring.New()}
	chain, ok := chainOf(v.number, files, after, from)
	if !ok {
		return lack{after: from}, nil
	}
	for _, f := range chain {
		pages := indexes[f.FileInfo]
		if pages == nil {
			var err error
			pages, err = s.pageIndex(ctx, f.FileInfo)
			if errors.Is(err, format.ErrCorrupt) {
				return lack{after: from}, nil
			}
			if err != nil {
				return out, err
			}
			indexes[f.FileInfo] = pages
		}
		out.pages.Or(pages)
		if out.since.IsZero() || f.age.Before(out.since) {
			out.since = f.age
		}
	}
	return out, nil
}

// newestOf returns where a level's files end. A file from TXID 1 holds everything:
// no level need begin before the newest such one. For snapshots, it also tells when
// the newest one was made.
func newestOf(v *level, files []object, tip format.TXID) (after format.TXID, made time.Time) {
	for _, f := range files {
		if (f.Level == v.number || f.MinTXID == 1) && f.MaxTXID <= tip && f.MaxTXID > after {
			after, made = f.MaxTXID, f.age
		}
	}
	return after, made
}

// chainOf returns files of lower levels that lead from one TXID to another. It
// reports false if there is a gap, or if there are too many.
func chainOf(number int, files []object, from, to format.TXID) (chain []object, ok bool) {
	for from < to {
		var best object
		for _, f := range files {
			if f.Level < number && f.MinTXID <= from+1 && f.MaxTXID <= to && f.MaxTXID > max(from, best.MaxTXID) {
				best = f
			}
		}
		if best.MaxTXID == 0 || len(chain) == mostLearned {
			return nil, false
		}
		chain = append(chain, best)
		from = best.MaxTXID
	}
	return chain, true
}

// indexTail is how much of a file's end is read at once: most page indexes fit.
const indexTail = 16 << 10

// pageIndex reads the numbers of the pages that a file holds.
func (s *Shipper) pageIndex(ctx context.Context, f format.FileInfo) (*roaring.Bitmap, error) {
	key := s.store.Layout().Key(f.Level, f.MinTXID, f.MaxTXID)
	at := max(0, f.Size-indexTail)
	b, _, err := readRange(ctx, s.store, key, at, f.Size-at)
	if err != nil {
		return nil, err
	}
	if int64(len(b)) != f.Size-at || len(b) < format.PageIndexTail {
		return nil, format.ErrCorrupt
	}
	index, tail := b[:len(b)-format.PageIndexTail], b[len(b)-format.PageIndexTail:]
	size, err := format.PageIndexSize(tail, f.Size)
	if err != nil {
		return nil, err
	}
	if missing := size - int64(len(index)); missing > 0 {
		before, _, err := readRange(ctx, s.store, key, at-missing, missing)
		if err != nil {
			return nil, err
		}
		index = append(before, index...)
	}
	pages := roaring.New()
	err = format.ParsePageIndex(index[max(0, int64(len(index))-size):], func(pgno uint32) { pages.Add(pgno) })
	return pages, err
}

// learned adds to the sets what they lacked at the start.
func (l *levels) learned(lacks []lack, log int, now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.known || l.log != log {
		return
	}
	unknown := false
	for i, v := range l.list {
		k := lacks[i]
		snapshot := v.number == format.LevelSnapshot
		switch {
		case k.pages == nil:
			unknown = true
		case snapshot && k.after < l.from:
			v.add(k.pages, k.since.Add(v.every))
		case snapshot, v.max > l.from: // a file with every page came meanwhile
		default:
			v.max = k.after
			if k.after < l.from {
				v.add(k.pages, k.since.Add(v.every))
			}
		}
		if snapshot && unknown {
			v.add(k.pages, now) // the levels begin after it
		}
	}
	l.known, l.learnAt = true, time.Time{}
	if l.policy.Keep > 0 {
		l.retainAt = now.Add(l.policy.KeepRaw)
	}
}
