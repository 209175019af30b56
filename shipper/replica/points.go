package replica

import (
	"context"
	"errors"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/walvfs/walvfs/format"
)

// A Point is a state that can be restored.
type Point struct {
	TXID format.TXID
	Time time.Time // as in [Replica.TXIDAt]: from the header, unless a clock was ahead
}

// Between returns the restorable TXIDs whose time is not before from and not after to,
// ascending. A zero time is no bound, and a time "to" after now is none either. If from is
// after now, Between returns nothing. For each bound, it reads as many headers as
// [HeadersFor] says.
func (r *Replica) Between(ctx context.Context, files Files, from, to time.Time) ([]format.TXID, error) {
	txids := files.Restorable()
	upTo := func(at time.Time) (n int, err error) {
		last, err := r.TXIDAt(ctx, files, at)
		if _, early := errors.AsType[*format.TooEarlyError](err); early {
			return 0, nil
		}
		n, found := slices.BinarySearch(txids, last)
		if found {
			n++
		}
		return n, err
	}
	now := time.Now()
	begin, end := 0, len(txids)
	var err error
	if !to.IsZero() && to.Before(now) {
		end, err = upTo(to)
	}
	switch {
	case err != nil || from.IsZero():
	case from.After(now):
		return nil, nil
	default:
		begin, err = upTo(from.Add(-1))
	}
	if err != nil || begin > end {
		return nil, err
	}
	return txids[begin:end], nil
}

// headersAtOnce is how many headers are read in parallel.
const headersAtOnce = 32

// Points reads the commit time of each of some TXIDs, in one small request each. It
// passes over a damaged or missing file, as if the file had not been listed, and over the
// TXIDs that cannot be restored without it, and returns such files as bad.
func (r *Replica) Points(ctx context.Context, files Files, txids []format.TXID) (points []Point, bad []format.FileInfo, err error) {
	ends := map[format.TXID]Files{}
	for _, f := range files {
		ends[f.MaxTXID] = append(ends[f.MaxTXID], f)
	}
	times := make([]time.Time, len(txids))
	passed := make([][]format.FileInfo, len(txids))
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(headersAtOnce)
	for i, txid := range txids {
		g.Go(func() (err error) {
			times[i], passed[i], err = r.timeOf(gctx, ends[txid])
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return nil, nil, err
	}
	bad = slices.Concat(passed...)
	left := files.Without(bad...).Restorable()
	for i, txid := range txids {
		if _, ok := slices.BinarySearch(left, txid); ok && !times[i].IsZero() {
			points = append(points, Point{txid, times[i]})
		}
	}
	return points, bad, r.date(ctx, ends[files.Newest()], points)
}

// timeOf reads the commit time of the TXID at which some files end, zero if no file has
// it. It also returns the files that should have it, but do not.
func (r *Replica) timeOf(ctx context.Context, ending Files) (at time.Time, bad []format.FileInfo, err error) {
	ending.Sort()
	for _, f := range ending {
		h, err := r.Header(ctx, f.FileInfo)
		if err == nil {
			return time.UnixMilli(h.Timestamp).UTC(), bad, nil
		}
		if !unusable(err) {
			return at, nil, err
		}
		bad = append(bad, f.FileInfo)
	}
	return at, bad, nil
}

// unusable reports whether the error means a damaged or missing file.
func unusable(err error) bool {
	_, damaged := errors.AsType[*Damaged](err)
	_, missing := errors.AsType[*Missing](err)
	return damaged || missing
}

// date corrects times from a clock that was ahead of the newest TXID's clock, as
// [format.TXIDAt] does: such a TXID gets the time of the next one.
func (r *Replica) date(ctx context.Context, newest Files, points []Point) error {
	if len(points) == 0 {
		return nil
	}
	last, _, err := r.timeOf(ctx, newest)
	if err != nil || last.IsZero() {
		return err
	}
	next := last
	for i := range slices.Backward(points) {
		if points[i].Time.After(last) {
			points[i].Time = next
		}
		next = points[i].Time
	}
	return nil
}
