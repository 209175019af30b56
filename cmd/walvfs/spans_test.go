package main

import (
	"strings"
	"testing"
	"time"

	"github.com/walvfs/walvfs/format"
	"github.com/walvfs/walvfs/shipper/replica"
)

// A history is a writer's files, and the time of each TXID's commit.
type history struct {
	files replica.Files
	times map[format.TXID]time.Time
}

// write adds a file of a level, written a moment after its last commit.
func (h *history) write(level int, lo, hi format.TXID, at time.Time) {
	f := replica.File{FileInfo: format.FileInfo{Level: level, MinTXID: lo, MaxTXID: hi}, Written: at.Add(100 * time.Millisecond)}
	h.files, h.times[hi] = append(h.files, f), at
}

// spans summarises all restorable states, without a store to read headers from.
func (h *history) spans() (text []string) {
	cuts := cutSpans(h.files, h.files.Restorable())
	var ends []replica.Point
	for _, c := range cuts {
		for _, p := range []listedPoint{c[0], c[len(c)-1]} {
			ends = append(ends, replica.Point{TXID: p.txid, Time: h.times[p.txid]})
		}
	}
	for _, s := range describeSpans(cuts, ends) {
		text = append(text, s.text())
	}
	return text
}

// days returns the files of a day of commits every second, except for a night without
// commits: files of level 1, 30 s apart, files of levels 2 and 3, and the last five
// minutes.
func days() *history {
	h := &history{times: map[format.TXID]time.Time{}}
	begin := time.Date(2026, 1, 2, 0, 0, 0, 0, time.UTC)
	at := func(txid format.TXID) time.Time {
		t := begin.Add(time.Duration(txid) * time.Second)
		if txid > 36_000 {
			t = t.Add(8 * time.Hour)
		}
		return t
	}
	const tip = 50_400
	h.write(format.LevelSnapshot, 1, 10, at(10))
	for txid := format.TXID(10); txid < tip; txid += 30 {
		h.write(1, txid+1, min(txid+30, tip), at(min(txid+30, tip)))
		if (txid-10)%300 == 0 && txid+300 <= tip {
			h.write(2, txid+1, txid+300, at(txid+300))
		}
	}
	for txid := format.TXID(tip - 299); txid <= tip; txid++ {
		h.write(format.LevelRaw, txid, txid, at(txid))
	}
	return h
}

func TestSpans(t *testing.T) {
	coarse := days() // old files of level 1 have been removed
	coarse.files = without(coarse.files, func(f replica.File) bool { return f.Level == 1 && f.MaxTXID < 20_000 })
	copied := days() // all files were written at once
	for i := range copied.files {
		copied.files[i].Written = time.Date(2026, 2, 1, 0, 0, i%10, 0, time.UTC)
	}
	// Level 0 continues where a file of level 1 ends: only from there on can its states
	// be restored.
	single := &history{times: map[format.TXID]time.Time{}}
	single.write(format.LevelSnapshot, 1, 7, time.Date(2026, 1, 2, 0, 0, 0, 0, time.UTC))
	gap := days()
	gap.files = without(gap.files, func(f replica.File) bool { return f.MinTXID <= 30_000 && f.MaxTXID >= 30_000 })
	for name, c := range map[string]struct {
		h    *history
		want []string
	}{
		"a day": {days(), []string{
			"1670 states from 2026-01-02T00:00:10Z to 2026-01-02T21:54:40Z, ~30s apart",
			"every upload from 2026-01-02T21:55:10Z to 2026-01-02T22:00:00Z, ~1s apart",
		}},
		"a coarse past": {coarse, []string{
			"67 states from 2026-01-02T00:00:10Z to 2026-01-02T05:30:10Z, ~5m apart",
			"1000 states from 2026-01-02T05:35:10Z to 2026-01-02T21:54:40Z, ~30s apart",
			"every upload from 2026-01-02T21:55:10Z to 2026-01-02T22:00:00Z, ~1s apart",
		}},
		"a copy": {copied, []string{
			"1670 states from 2026-01-02T00:00:10Z to 2026-01-02T21:54:40Z, ~47s apart", // the mean, including the night
			"every upload from 2026-01-02T21:55:10Z to 2026-01-02T22:00:00Z, ~1s apart",
		}},
		"one state": {single, []string{"one of 2026-01-02T00:00:00Z"}},
		"a gap":     {gap, []string{"1000 states from 2026-01-02T00:00:10Z to 2026-01-02T08:19:40Z, ~30s apart"}},
		"nothing":   {&history{}, nil},
	} {
		if got := c.h.spans(); strings.Join(got, "\n") != strings.Join(c.want, "\n") {
			t.Errorf("%s:\n%s", name, strings.Join(got, "\n"))
		}
	}
}

func without(files replica.Files, out func(replica.File) bool) (rest replica.Files) {
	for _, f := range files {
		if !out(f) {
			rest = append(rest, f)
		}
	}
	return rest
}

func TestApartText(t *testing.T) {
	for d, want := range map[time.Duration]string{
		12345 * time.Microsecond: "~10ms",
		1049 * time.Millisecond:  "~1s",
		1500 * time.Millisecond:  "~1.5s",
		29951 * time.Millisecond: "~30s",
		5*time.Minute + 10e6:     "~5m",
		90 * time.Second:         "~1m30s",
		61 * time.Minute:         "~1h1m",
		time.Hour:                "~1h",
		24*time.Hour + 1e9:       "~24h",
	} {
		if got := (span{Points: 2, ApartMS: d.Milliseconds()}).apartText(); got != want {
			t.Errorf("%s: %s, want %s", d, got, want)
		}
	}
}
