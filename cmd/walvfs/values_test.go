package main

import (
	"testing"
	"time"
)

func TestParseTime(t *testing.T) {
	now := time.Date(2026, 1, 10, 12, 0, 0, 0, time.UTC)
	for s, want := range map[string]time.Time{
		"2026-01-02T15:04:05Z":      time.Date(2026, 1, 2, 15, 4, 5, 0, time.UTC),
		"2026-01-02T15:04:05+01:00": time.Date(2026, 1, 2, 14, 4, 5, 0, time.UTC),
		"5m ago":                    now.Add(-5 * time.Minute),
		"1h30m ago":                 now.Add(-90 * time.Minute),
		"2d ago":                    now.Add(-48 * time.Hour),
		"1d12h ago":                 now.Add(-36 * time.Hour),
		"0s ago":                    now,
		"5m":                        {},
		"-5m ago":                   {},
		"d ago":                     {},
		"1d-1h ago":                 {},
		"99999999d ago":             {},
		"5 ago":                     {},
		"5m  later":                 {},
		"":                          {},
	} {
		got, err := parseTime(s, now)
		if want.IsZero() != (err != nil) || !got.Equal(want) {
			t.Errorf("%q: got %s, %v; want %s", s, got, err, want)
		}
	}
}
