package replica_test

import (
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/walvfs/walvfs/shipper/replica"
)

var now = time.Date(2026, 1, 10, 12, 0, 0, 0, time.UTC)

func TestParseMoment(t *testing.T) {
	day := 24 * time.Hour
	for s, want := range map[string]time.Time{
		"2026-01-02T15:04:05Z":          time.Date(2026, 1, 2, 15, 4, 5, 0, time.UTC),
		"2026-01-02T15:04:05.678Z":      time.Date(2026, 1, 2, 15, 4, 5, 678e6, time.UTC),
		"2026-01-02T15:04:05+01:00":     time.Date(2026, 1, 2, 14, 4, 5, 0, time.UTC),
		"2026-01-02 15:04:05.5+01:00":   time.Date(2026, 1, 2, 14, 4, 5, 5e8, time.UTC),
		"2026-01-02T15:04:05":           time.Date(2026, 1, 2, 15, 4, 5, 0, time.UTC),
		"2026-01-02 15:04:05":           time.Date(2026, 1, 2, 15, 4, 5, 0, time.UTC),
		"2026-01-02 15:04:05.123456":    time.Date(2026, 1, 2, 15, 4, 5, 123456e3, time.UTC),
		"2026-01-02 15:04":              time.Date(2026, 1, 2, 15, 4, 0, 0, time.UTC),
		"2026-01-02T15:04-08:00":        time.Date(2026, 1, 2, 23, 4, 0, 0, time.UTC),
		"2026-01-02":                    time.Date(2026, 1, 2, 0, 0, 0, 0, time.UTC),
		"5m":                            now.Add(-5 * time.Minute),
		"5m ago":                        now.Add(-5 * time.Minute),
		"5 minutes ago":                 now.Add(-5 * time.Minute),
		"1 minute ago":                  now.Add(-time.Minute),
		"1h30m ago":                     now.Add(-90 * time.Minute),
		"1 hour, 30 minutes":            now.Add(-90 * time.Minute),
		"1.5h":                          now.Add(-90 * time.Minute),
		"250ms ago":                     now.Add(-250 * time.Millisecond),
		"2d ago":                        now.Add(-2 * day),
		"2 days ago":                    now.Add(-2 * day),
		"1d12h ago":                     now.Add(-36 * time.Hour),
		"3 weeks ago":                   now.Add(-21 * day),
		"0s ago":                        now,
		"100 weeks 1 day 1 second  ago": now.Add(-701*day - time.Second),
	} {
		if got, err := replica.ParseMoment(s, now); err != nil || !got.Equal(want) {
			t.Errorf("%q: got %s, %v; want %s", s, got, err, want)
		}
	}
}

func TestParseMomentFails(t *testing.T) {
	for s, want := range map[string]string{
		"":                         "expected a time",
		"ago":                      "expected a time",
		" ago":                     "expected a time",
		"5":                        "expected a time",
		"5 ago":                    "expected a time",
		"d ago":                    "expected a time",
		"5m later":                 "expected a time",
		"5m ago ago":               "expected a time",
		"5 moons ago":              "expected a time",
		"1d-1h ago":                "expected a time",
		"99999999d ago":            "expected a time",
		"9999999999999999999w ago": "expected a time",
		"80 years ago":             "expected a time",
		"2026-02-30":               "expected a time",
		"2026-01-02 25:00":         "expected a time",
		"2026-01-02T":              "expected a time",
		"2026-01-02Z":              "expected a time",
		"15:04":                    "expected a time",
		"1767366245":               "expected a time",
		"-5m":                      "remove its sign",
		"+5 minutes":               "remove its sign",
	} {
		if got, err := replica.ParseMoment(s, now); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %s, %v; want %s", s, got, err, want)
		}
	}
}

// Without now, ParseMoment refuses an age: a pool opens a URI many times, and each
// connection would read another time.
func TestParseMomentWithoutNow(t *testing.T) {
	if _, err := replica.ParseMoment("5m ago", time.Time{}); err == nil || !strings.Contains(err.Error(), "changes its meaning") {
		t.Errorf("an age: %v", err)
	}
	if got, err := replica.ParseMoment("2026-01-10", time.Time{}); err != nil || !got.Equal(now.Add(-12*time.Hour)) {
		t.Errorf("a date: %s, %v", got, err)
	}
	if _, err := replica.ParseMoment("x", time.Time{}); err == nil || strings.Contains(err.Error(), "ago") {
		t.Errorf("neither: %v", err)
	}
}

// ParseMoment reads every spelling that the help lists.
func TestMomentSpellings(t *testing.T) {
	listed := strings.NewReplacer(" (UTC without a zone)", "", " or ", ", ", "'", "").Replace(replica.MomentSpellings)
	for _, s := range strings.Split(listed, ", ") {
		if _, err := replica.ParseMoment(s, now); err != nil {
			t.Errorf("%q: %v", s, err)
		}
	}
}

// ParseMoment reads every duration as Go prints it, to the nanosecond.
func TestParseMomentOfDurations(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		d := time.Duration(rapid.Int64Range(0, int64(90*365*24*time.Hour)).Draw(rt, "age"))
		for _, s := range []string{d.String(), d.String() + " ago"} {
			if got, err := replica.ParseMoment(s, now); err != nil || !got.Equal(now.Add(-d)) {
				rt.Errorf("%q: %s, %v; want %s", s, got, err, now.Add(-d))
			}
		}
		at := now.Add(-d)
		for _, layout := range []string{time.RFC3339Nano, "2006-01-02 15:04:05.999999999"} {
			if got, err := replica.ParseMoment(at.Format(layout), time.Time{}); err != nil || !got.Equal(at) {
				rt.Errorf("%s: %s, %v", at.Format(layout), got, err)
			}
		}
	})
}
