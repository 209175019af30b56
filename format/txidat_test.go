package format_test

import (
	"cmp"
	"errors"
	"math/bits"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/walvfs/walvfs/format"
)

var epoch = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// second returns epoch plus n seconds.
func second(n int) time.Time { return epoch.Add(time.Duration(n) * time.Second) }

// timed gives each file its MaxTXID in seconds as its time.
func timed(a []format.FileInfo) []format.FileInfo {
	for i := range a {
		a[i].Time = second(int(a[i].MaxTXID))
	}
	return a
}

func TestTXIDAt(t *testing.T) {
	tests := []struct {
		name  string
		files string
		at    time.Time
		want  format.TXID
	}{
		{"at", "0/1-1 0/2-2 0/3-3", second(2), 2},
		{"just before", "0/1-1 0/2-2 0/3-3", second(2).Add(-1), 1},
		{"between", "0/1-1 0/2-2 0/3-3", second(2).Add(1), 2},
		{"first", "0/1-1 0/2-2", second(1), 1},
		{"now", "0/1-1 0/2-2 0/3-3", second(999), 3},
		{"compacted away", "9/1-5 1/6-9", second(8), 5},
		{"its file is there, the way is not", "9/1-5 1/6-9 0/8-8", second(8), 5},
		{"older leftovers", "0/2-2 9/1-5", second(5), 5},
		{"behind a gap", "0/1-1 0/2-2 0/4-4 0/5-5", second(4), 4},
		{"before a gap", "0/1-1 0/2-2 0/4-4 0/5-5", second(3), 2},
		{"behind a gap, now", "0/1-1 0/2-2 0/4-4 0/5-5", second(9), 5},
	}
	for _, tt := range tests {
		if got, err := format.TXIDAt(timed(files(t, tt.files)), tt.at, nil); got != tt.want || err != nil {
			t.Errorf("%s: %v, %v; want %d", tt.name, got, err, tt.want)
		}
	}
}

// Restoring to a time behind a gap must fail, not restore less than requested.
func TestTXIDAtLeavesAGapToPlan(t *testing.T) {
	in := timed(files(t, "0/1-1 0/2-2 0/4-4 0/5-5"))
	txid, err := format.TXIDAt(in, second(9), nil)
	if err != nil {
		t.Fatal(err)
	}
	var gap *format.GapError
	if _, err := format.Plan(in, txid); !errors.As(err, &gap) || gap.Missing != 3 {
		t.Errorf("Plan(%d): %v", txid, err)
	}
}

func TestTXIDAtFails(t *testing.T) {
	var early *format.TooEarlyError
	_, err := format.TXIDAt(timed(files(t, "0/2-2 0/3-3 9/1-5 0/6-6")), second(4), nil)
	if !errors.As(err, &early) || early.Earliest != 5 || !early.At.Equal(second(5)) || !early.Time.Equal(second(4)) {
		t.Errorf("too early: %#v", err)
	}
	var gap *format.GapError
	if _, err := format.TXIDAt(timed(files(t, "0/2-2")), second(4), nil); !errors.As(err, &gap) || gap.Missing != 1 {
		t.Errorf("nothing to start with: %v", err)
	}
	if _, err := format.TXIDAt(nil, second(4), nil); !errors.Is(err, format.ErrNoFiles) {
		t.Errorf("no files: %v", err)
	}
	if _, err := format.TXIDAt(files(t, "0/1-1"), second(4), nil); err == nil {
		t.Error("no times: no error")
	}
	calls := 0
	_, err = format.TXIDAt(files(t, "0/1-1 0/2-2 0/3-3 0/4-4"), second(4), func(format.FileInfo) (time.Time, error) {
		calls++
		return time.Time{}, errDisk
	})
	if !errors.Is(err, errDisk) || calls != 1 {
		t.Errorf("timeOf fails: %v after %d calls", err, calls)
	}
}

// Litestream's snapshots carry the time when they were made.
func TestTXIDAtBelievesTheEarliestTimeOfATXID(t *testing.T) {
	in := timed(files(t, "9/1-2 0/1-1 0/2-2 0/3-3"))
	in[0].Time = second(9)
	if got, err := format.TXIDAt(in, second(2), nil); got != 2 || err != nil {
		t.Errorf("known: %d, %v", got, err)
	}
	in = timed(files(t, "1/1-2 0/1-1 0/2-2 0/3-3"))
	in[2].Time = second(9)
	if got, err := format.TXIDAt(in, second(2), nil); got != 2 || err != nil {
		t.Errorf("known, the compacted one's: %d, %v", got, err)
	}
	in[2].Time = time.Time{}
	if got, err := format.TXIDAt(in, second(2), nil); got != 2 || err != nil {
		t.Errorf("known of one: %d, %v", got, err)
	}
	timeOf := func(f format.FileInfo) (time.Time, error) {
		if f.Level == 9 {
			return second(9), nil
		}
		return second(int(f.MaxTXID)), nil
	}
	if got, err := format.TXIDAt(files(t, "9/1-2 0/1-1 0/2-2 0/3-3"), second(2), timeOf); got != 2 || err != nil {
		t.Errorf("asked for: %d, %v", got, err)
	}
}

func TestTXIDAtSearches(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		in := drawFiles(rt)
		restorable := format.Restorable(in)
		if len(restorable) == 0 {
			return
		}
		times := map[format.TXID]time.Time{} // never decreasing, with repetitions
		at := 0
		for txid := format.TXID(1); txid < 20; txid++ {
			at += rapid.IntRange(0, 2).Draw(rt, "step")
			times[txid] = second(at)
		}
		for i := range in {
			if rapid.Bool().Draw(rt, "time is known") {
				in[i].Time = times[in[i].MaxTXID]
			}
		}
		want := format.TXID(0)
		when := second(rapid.IntRange(0, 45).Draw(rt, "when"))
		for _, f := range in {
			_, ok := slices.BinarySearch(restorable, f.MaxTXID)
			if (ok || f.MaxTXID > slices.Max(restorable)) && !times[f.MaxTXID].After(when) {
				want = max(want, f.MaxTXID)
			}
		}
		calls := 0
		got, err := format.TXIDAt(in, when, func(f format.FileInfo) (time.Time, error) {
			calls++
			return times[f.MaxTXID], nil
		})
		var early *format.TooEarlyError
		if want == 0 {
			if !errors.As(err, &early) || early.Earliest != restorable[0] || !early.At.Equal(times[restorable[0]]) {
				rt.Fatalf("%d, %v; want too early", got, err)
			}
		} else if got != want || err != nil {
			rt.Fatalf("%d, %v; want %d", got, err, want)
		}
		points := slices.CompactFunc(slices.SortedFunc(slices.Values(in), func(f, g format.FileInfo) int {
			return cmp.Compare(f.MaxTXID, g.MaxTXID)
		}), func(f, g format.FileInfo) bool { return f.MaxTXID == g.MaxTXID })
		if limit := bits.Len(uint(len(points))) + 1; calls > limit {
			rt.Fatalf("%d requests for %d TXIDs", calls, len(points))
		}
	})
}

// If a clock was ahead for a while, a time still names the state of that time, without
// many requests.
func TestTXIDAtAfterAClockThatWasAhead(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(2, 200).Draw(t, "TXIDs")
		from := rapid.IntRange(0, n-2).Draw(t, "ahead from")
		to := rapid.IntRange(from, n-2).Draw(t, "ahead until")
		all := make([]format.FileInfo, n)
		well := make([]time.Time, n)
		for i := range all {
			all[i] = format.FileInfo{MinTXID: format.TXID(i + 1), MaxTXID: format.TXID(i + 1)}
			well[i] = second(2 * i)
			if from <= i && i <= to {
				well[i] = second(2 * (to + 1))
			}
		}
		reads := 0
		timeOf := func(f format.FileInfo) (time.Time, error) {
			reads++
			if i := int(f.MaxTXID) - 1; i < from || to < i {
				return well[i], nil
			}
			return second(10_000 + int(f.MaxTXID)), nil
		}
		at := second(rapid.IntRange(0, 2*n).Draw(t, "at"))
		want := format.TXID(0)
		for i := range well {
			if !well[i].After(at) {
				want = format.TXID(i + 1)
			}
		}
		got, err := format.TXIDAt(all, at, timeOf)
		var early *format.TooEarlyError
		if got != want || (err != nil) != (want == 0) || err != nil && !errors.As(err, &early) {
			t.Fatalf("TXID %s, %v; want %s", got, err, want)
		}
		if most := bits.Len(uint(n)) * (2*bits.Len(uint(n)) + 2); reads > most {
			t.Fatalf("%d requests for %d TXIDs", reads, n)
		}
	})
}
