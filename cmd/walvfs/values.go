package main

import (
	"encoding"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/walvfs/walvfs/format"
)

// txidFlag is a TXID as users type it.
type txidFlag format.TXID

var _ encoding.TextUnmarshaler = (*txidFlag)(nil)

func (f *txidFlag) UnmarshalText(text []byte) error {
	txid, err := format.ParseTXID(string(text))
	if err != nil {
		return fmt.Errorf("%s", strings.TrimPrefix(err.Error(), "format: "))
	}
	*f = txidFlag(txid)
	return nil
}

// timeFlag is a point in time as users type it.
type timeFlag struct{ time.Time }

var _ encoding.TextUnmarshaler = (*timeFlag)(nil)

func (f *timeFlag) UnmarshalText(text []byte) error {
	t, err := parseTime(string(text), time.Now())
	f.Time = t
	return err
}

// parseTime reads a time in full, or one relative to now: "5m ago".
func parseTime(s string, now time.Time) (time.Time, error) {
	if t, err := time.Parse(time.RFC3339, s); err == nil {
		return t, nil
	}
	if age, ok := strings.CutSuffix(s, " ago"); ok {
		if d, err := parseAge(strings.TrimSpace(age)); err == nil && d >= 0 {
			return now.Add(-d), nil
		}
	}
	return time.Time{}, fmt.Errorf("%q is not a time: expected RFC 3339, such as 2026-01-02T15:04:05Z, or an age, such as '5m ago', '1h30m ago' or '2d ago'", s)
}

// parseAge reads a duration that may begin with days.
func parseAge(s string) (time.Duration, error) {
	before, after, found := strings.Cut(s, "d")
	if !found {
		return time.ParseDuration(s)
	}
	days, err := strconv.ParseUint(before, 10, 16)
	if err != nil {
		return 0, err
	}
	d := time.Duration(days) * 24 * time.Hour
	if after == "" {
		return d, nil
	}
	rest, err := time.ParseDuration(after)
	if err == nil && rest < 0 {
		err = errors.New("negative")
	}
	return d + rest, err
}

// printJSON prints one value for a script to read.
func (a *app) printJSON(v any) error {
	enc := json.NewEncoder(a.stdout)
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}

// count puts a number before a noun.
func count(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
