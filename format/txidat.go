package format

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"sort"
	"time"
)

// TXIDAt returns the newest TXID that was cut at or before t and that the replica can be
// restored to: the TXID that a restore to a point in time restores. If a TXID's own file
// was removed after compaction, TXIDAt passes it over for an older TXID. It does not pass
// over a TXID behind a gap that no newer file bridges: for it, [Plan] then fails with a
// [*GapError] rather than restore less than requested.
//
// Times increase with the TXID, so TXIDAt searches: where [FileInfo.Time] is zero it
// calls timeOf, about log2 as often as there are TXIDs. timeOf may be nil if no time is
// zero. A time after that of the newest TXID comes from a clock that was ahead for a
// while: TXIDAt dates such a TXID like the next TXID with a valid time.
//
// It fails with [ErrNoFiles], with a [*TooEarlyError] that names the oldest TXID if t is
// before it, with a [*GapError] if no TXID at all can be restored, and with timeOf's
// error.
func TXIDAt(files []FileInfo, t time.Time, timeOf func(FileInfo) (time.Time, error)) (TXID, error) {
	points, err := TimePoints(files)
	if err != nil {
		return 0, err
	}
	d := dates{points: points, timeOf: timeOf, known: map[int]time.Time{}}
	n := sort.Search(len(points), func(i int) bool { return d.well(i).After(t) })
	if n == 0 && d.err == nil {
		err = &TooEarlyError{Time: t, Earliest: points[0].MaxTXID, At: d.well(0)}
	}
	switch {
	case d.err != nil:
		return 0, d.err
	case err != nil:
		return 0, err
	}
	return points[n-1].MaxTXID, nil
}

// dates are the times of points, ascending.
type dates struct {
	points []FileInfo
	timeOf func(FileInfo) (time.Time, error)
	known  map[int]time.Time
	err    error
}

// of returns a point's own time.
func (d *dates) of(i int) time.Time {
	at, ok := d.known[i]
	if !ok && d.err == nil {
		at, d.err = cutTime(d.points[i], d.timeOf)
		d.known[i] = at
	}
	return at
}

// ahead reports whether a point's time is after the newest point's.
func (d *dates) ahead(i int) bool { return d.of(i).After(d.of(len(d.points) - 1)) }

// well returns the latest time at which a point can have been cut: its own time or, if
// that is ahead, the time of the next point that is not ahead.
func (d *dates) well(i int) time.Time {
	if !d.ahead(i) {
		return d.of(i)
	}
	bad, good := i, i+1
	for step := 1; d.ahead(good); step *= 2 {
		bad, good = good, min(good+step, len(d.points)-1)
	}
	return d.of(bad + 1 + sort.Search(good-bad-1, func(k int) bool { return !d.ahead(bad + 1 + k) }))
}

// TimePoints returns, for each TXID that a time can name, ascending, the file that has
// its time. [TXIDAt] may read the times of these files, in a binary search as
// [sort.Search] does it, and the time of the newest. TimePoints fails as TXIDAt does.
func TimePoints(files []FileInfo) ([]FileInfo, error) {
	reached := Restorable(files)
	if len(reached) == 0 {
		_, err := Plan(files, 0)
		return nil, err
	}
	newest := reached[len(reached)-1]
	var points []FileInfo
	for _, f := range valid(files) {
		_, ok := slices.BinarySearch(reached, f.MaxTXID)
		if ok || f.MaxTXID > newest {
			points = append(points, f)
		}
	}
	slices.SortFunc(points, func(f, g FileInfo) int {
		return cmp.Or(cmp.Compare(f.MaxTXID, g.MaxTXID), compareTimes(f, g))
	})
	return slices.CompactFunc(points, func(f, g FileInfo) bool { return f.MaxTXID == g.MaxTXID }), nil
}

// compareTimes orders files of one MaxTXID by how reliable their time is: first a time
// known without a request; then the earlier time and the lower level, because
// Litestream's snapshots carry the time when they were made, not when their TXID was.
func compareTimes(f, g FileInfo) int {
	if f.Time.IsZero() != g.Time.IsZero() {
		if f.Time.IsZero() {
			return 1
		}
		return -1
	}
	return cmp.Or(f.Time.Compare(g.Time), cmp.Compare(f.Level, g.Level))
}

func cutTime(f FileInfo, timeOf func(FileInfo) (time.Time, error)) (time.Time, error) {
	if !f.Time.IsZero() {
		return f.Time, nil
	}
	if timeOf == nil {
		return time.Time{}, fmt.Errorf("format: time of %s: %w", f, errors.New("not known"))
	}
	t, err := timeOf(f)
	if err != nil {
		return time.Time{}, fmt.Errorf("format: time of %s: %w", f, err)
	}
	return t, nil
}
