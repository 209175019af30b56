package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/walvfs/walvfs/format"
	"github.com/walvfs/walvfs/shipper/replica"
)

// A span is a run of states that can be restored, at similar distances from each other.
type span struct {
	From    point `json:"from"`
	To      point `json:"to"`
	Points  int   `json:"points"`             // TXIDs that can be restored, including from and to
	Each    bool  `json:"each,omitempty"`     // every TXID can be restored
	ApartMS int64 `json:"apart_ms,omitempty"` // typical distance between states; 0 for one state
}

// spansOf summarises TXIDs that can be restored, oldest first. It reads the headers of
// the states at the ends of spans, and takes the rest from the listing.
func spansOf(ctx context.Context, r *replica.Replica, files replica.Files, txids []format.TXID) ([]span, error) {
	for {
		cuts := cutSpans(files, txids)
		var ends []format.TXID
		for _, c := range cuts {
			ends = append(ends, c[0].txid, c[len(c)-1].txid)
		}
		points, bad, err := r.Points(ctx, files, ends)
		if err != nil {
			return nil, err
		}
		if len(bad) == 0 {
			return describeSpans(cuts, points), nil
		}
		files = files.Without(bad...)
		left := files.Restorable()
		txids = slices.DeleteFunc(slices.Clone(txids), func(txid format.TXID) bool {
			_, found := slices.BinarySearch(left, txid)
			return !found
		})
	}
}

// A listedPoint is a listed state: the file of the lowest level that ends there.
type listedPoint struct {
	txid    format.TXID
	level   int
	written time.Time
}

// cutSpans cuts where compaction has removed more states. The newest span has every TXID.
// Each span before it ends where no file of its levels ends; snapshots count as files of
// any level.
func cutSpans(files replica.Files, txids []format.TXID) (cuts [][]listedPoint) {
	at := map[format.TXID]replica.File{}
	for _, f := range files {
		if old, ok := at[f.MaxTXID]; !ok || f.Level < old.Level {
			at[f.MaxTXID] = f
		}
	}
	points := make([]listedPoint, len(txids))
	for i, txid := range txids {
		points[i] = listedPoint{txid, at[txid].Level, at[txid].Written}
	}
	each := len(points)
	for each > 0 && (each == len(points) || points[each-1].txid+1 == points[each].txid) {
		each--
	}
	if n := len(points) - each; n > 1 || n == 1 && each == 0 {
		cuts = append(cuts, points[each:])
		points = points[:each]
	}
	for end, level := len(points), 0; end > 0; {
		begin := end
		for ; begin > 0; begin-- {
			if l := points[begin-1].level; l > level && l < format.LevelSnapshot {
				if begin < end {
					break
				}
				level = l
			}
		}
		cuts = append(cuts, points[begin:end])
		end = begin
	}
	slices.Reverse(cuts)
	return cuts
}

// describeSpans adds the times at the ends of spans.
func describeSpans(cuts [][]listedPoint, ends []replica.Point) (spans []span) {
	for i, c := range cuts {
		from, to := ends[2*i], ends[2*i+1]
		s := span{
			From:   point{from.TXID, from.Time},
			To:     point{to.TXID, to.Time},
			Points: len(c),
			Each:   int(to.TXID-from.TXID) == len(c)-1,
		}
		s.ApartMS = apart(c, to.Time.Sub(from.Time)).Milliseconds()
		spans = append(spans, s)
	}
	return spans
}

// apart returns the median time between two states, by when their files were written:
// hours without a commit would make a mean useless. If writing the files took a different
// time than committing the states, as in a copy of a replica, apart returns the mean.
func apart(points []listedPoint, took time.Duration) time.Duration {
	n := len(points) - 1
	if n == 0 {
		return 0
	}
	written := points[n].written.Sub(points[0].written)
	if (written - took).Abs() > took/2+time.Minute {
		return took / time.Duration(n)
	}
	between := make([]time.Duration, n)
	for i := range between {
		between[i] = points[i+1].written.Sub(points[i].written)
	}
	slices.Sort(between)
	return max(0, between[n/2])
}

// apartText returns text such as "~30s", and "" for one state.
func (s span) apartText() string {
	if s.Points == 1 {
		return ""
	}
	d := time.Duration(s.ApartMS) * time.Millisecond
	unit := time.Minute
	switch {
	case d < time.Second:
		unit = 10 * time.Millisecond
	case d < 10*time.Second:
		unit = 100 * time.Millisecond
	case d < 10*time.Minute:
		unit = time.Second
	}
	text := d.Round(unit).String()
	for _, zero := range []string{"m0s", "h0m"} {
		if strings.HasSuffix(text, zero) {
			text = text[:len(text)-2]
		}
	}
	return "~" + text
}

// text returns a line of info.
func (s span) text() string {
	from, to := s.From.Time.Format(time.RFC3339Nano), s.To.Time.Format(time.RFC3339Nano)
	switch {
	case s.Points == 1:
		return "one of " + to
	case s.Each:
		return fmt.Sprintf("every upload from %s to %s, %s apart", from, to, s.apartText())
	}
	return fmt.Sprintf("%s from %s to %s, %s apart", count(s.Points, "state"), from, to, s.apartText())
}
