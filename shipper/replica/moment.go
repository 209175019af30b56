package replica

import (
	"errors"
	"regexp"
	"strings"
	"time"
)

// MomentSpellings lists the formats that [ParseMoment] reads, for the help of a flag.
const MomentSpellings = "2026-01-02T15:04:05Z, '2026-01-02 15:04' or 2026-01-02 (UTC without a zone), 5m or '2 days ago'"

var (
	errMoment = errors.New("expected a time such as " + MomentSpellings)
	errTime   = errors.New("expected a time such as 2026-01-02T15:04:05Z, 2026-01-02 15:04 or 2026-01-02 (UTC without a zone)")
	errAge    = errors.New("an age changes its meaning over time (give a time such as 2026-01-02T15:04:05Z)")
	errFuture = errors.New("an age is a time before now (remove its sign)")
)

// ParseMoment reads a point in time as users type it:
//
//	2026-01-02T15:04:05.678+01:00    RFC 3339
//	2026-01-02 15:04:05              a space for the T; seconds, fraction and zone may be missing
//	2026-01-02                       the beginning of the day
//	5m, 1h30m ago, 2d, 2 days ago    an age, before now
//
// A time without a zone is in UTC. An age is one or more numbers with a unit each: ns,
// us, ms, s, m, h, d, w, or an English name of it. If now is zero, ParseMoment refuses
// ages. Its error names neither value nor operation.
func ParseMoment(s string, now time.Time) (time.Time, error) {
	if t, ok := parseTime(s); ok {
		return t, nil
	}
	age, ok := parseAge(s)
	switch {
	case ok && now.IsZero():
		return time.Time{}, errAge
	case ok:
		return now.Add(-age), nil
	case now.IsZero():
		return time.Time{}, errTime
	}
	if _, ok := parseAge(strings.TrimLeft(s, "+-")); ok {
		return time.Time{}, errFuture
	}
	return time.Time{}, errMoment
}

// timeLayouts are the layouts of a time; a fraction may follow the seconds.
var timeLayouts = []string{
	time.RFC3339,
	"2006-01-02T15:04:05",
	"2006-01-02T15:04Z07:00",
	"2006-01-02T15:04",
	time.DateOnly,
}

func parseTime(s string) (time.Time, bool) {
	if day, clock, ok := strings.Cut(s, " "); ok && len(day) == len(time.DateOnly) {
		s = day + "T" + clock
	}
	for _, layout := range timeLayouts {
		if t, err := time.Parse(layout, s); err == nil {
			return t.UTC(), true
		}
	}
	return time.Time{}, false
}

// A unit of an age. [time.ParseDuration] lacks some of them.
type unit struct {
	names  string // separated by spaces
	unit   string // of time.ParseDuration
	factor time.Duration
}

var units = []unit{
	{"ns nanosecond nanoseconds", "ns", 1},
	{"us µs μs microsecond microseconds", "us", 1},
	{"ms millisecond milliseconds", "ms", 1},
	{"s sec secs second seconds", "s", 1},
	{"m min mins minute minutes", "m", 1},
	{"h hour hours", "h", 1},
	{"d day days", "h", 24},
	{"w week weeks", "h", 7 * 24},
}

// mostAge is far below the overflow of durations.
const mostAge = 100 * 365 * 24 * time.Hour

var agePart = regexp.MustCompile(`^(\d+(?:\.\d*)?|\.\d+) *([a-zµμ]+),? *`)

// parseAge reads a duration, with or without "ago" after it.
func parseAge(s string) (age time.Duration, ok bool) {
	rest, hasAgo := strings.CutSuffix(strings.TrimSpace(s), " ago")
	switch rest = strings.TrimSpace(rest); rest {
	case "":
		return 0, false
	case "0":
		return 0, hasAgo
	}
	for rest != "" {
		part := agePart.FindStringSubmatch(rest)
		if part == nil {
			return 0, false
		}
		d, ok := parsePart(part[1], part[2])
		if age += d; !ok || age > mostAge {
			return 0, false
		}
		rest = rest[len(part[0]):]
	}
	return age, true
}

func parsePart(number, name string) (time.Duration, bool) {
	for _, u := range units {
		for _, n := range strings.Fields(u.names) {
			if n != name {
				continue
			}
			d, err := time.ParseDuration(number + u.unit)
			return d * u.factor, err == nil && d <= mostAge/u.factor
		}
	}
	return 0, false
}
