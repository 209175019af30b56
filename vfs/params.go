package vfs

import (
	"errors"
	"fmt"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/walvfs/walvfs/internal/shipping"
	"github.com/walvfs/walvfs/vfs/internal/uri"
)

// A parameter is a parameter of this package in a database's URI.
type parameter struct {
	name   string
	each   bool                                  // each connection has its own value, else all connections share one
	values []string                              // nil if any text may be a value
	set    func(s *settings, value string) error // its error contains neither name nor value
}

// parameters are all parameters of this package. Parsing, checks and suggestions use this
// table.
var parameters = []parameter{
	each(parameter{name: "replica", set: func(s *settings, value string) error { s.replica = value; return nil }}),
	duration("interval", func(s *settings) *time.Duration { return &s.interval }),
	each(oneOf("durability", func(s *settings) *Durability { return &s.durability }, DurabilityAsync, DurabilitySync)),
	each(durationOrOff("sync_timeout", func(s *settings) *time.Duration { return &s.syncTimeout })),
	durationOrOff("max_lag", func(s *settings) *time.Duration { return &s.maxLag }),
	oneOf("on_fenced", func(s *settings) *OnFenced { return &s.onFenced }, OnFencedContinue, OnFencedReadonly),
	duration("close_timeout", func(s *settings) *time.Duration { return &s.closeTimeout }),
	each(duration("lock_timeout", func(s *settings) *time.Duration { return &s.lockTimeout })),
	each(oneOf("restore", func(s *settings) *Restore { return &s.restore }, RestoreNever, RestoreIfMissing, RestoreIfBehind)),
	oneOf("adopt", func(s *settings) *Adopt { return &s.adopt }, AdoptMoved, AdoptEqual, AdoptNever),
	oneOf("diverged", func(s *settings) *Diverged { return &s.diverged }, DivergedHalt, DivergedOverwrite),
	durationOrOff("retention", func(s *settings) *time.Duration { return &s.policy.Keep }),
	atLeast(shipping.LeastKeepRaw, duration("keep_raw", func(s *settings) *time.Duration { return &s.policy.KeepRaw })),
	durationOrOff("snapshots", func(s *settings) *time.Duration { return &s.policy.Snapshots }),
	oneOf("fencing", func(s *settings) *Fencing { return &s.fencing }, FencingOn, FencingOff),
}

func each(p parameter) parameter {
	p.each = true
	return p
}

func duration(name string, field func(*settings) *time.Duration) parameter {
	return parameter{name: name, set: func(s *settings, value string) error {
		d, err := time.ParseDuration(value)
		if err != nil || d < 0 {
			return errors.New("expected a duration such as 500ms or 10s")
		}
		*field(s) = d
		return nil
	}}
}

// atLeast returns p with a minimum: it refuses shorter durations.
func atLeast(least time.Duration, p parameter) parameter {
	set := p.set
	p.set = func(s *settings, value string) error {
		if d, err := time.ParseDuration(value); err == nil && d < least {
			return fmt.Errorf("expected %s or more", least)
		}
		return set(s, value)
	}
	return p
}

// durationOrOff is duration, with 0 for off.
func durationOrOff(name string, field func(*settings) *time.Duration) parameter {
	d := duration(name, field)
	return parameter{name: name, set: func(s *settings, value string) error {
		if value == "off" {
			value = "0"
		}
		if d.set(s, value) != nil {
			return errors.New("expected off or a duration such as 500ms or 10s")
		}
		return nil
	}}
}

func oneOf[T fmt.Stringer](name string, field func(*settings) *T, choices ...T) parameter {
	p := parameter{name: name}
	for _, c := range choices {
		p.values = append(p.values, c.String())
	}
	p.set = func(s *settings, value string) error {
		i := slices.Index(p.values, value)
		if i < 0 {
			return fmt.Errorf("expected %s", either(p.values))
		}
		*field(s) = choices[i]
		return nil
	}
	return p
}

// either joins words as in "a, b or c".
func either(words []string) string {
	last := len(words) - 1
	if last < 1 {
		return strings.Join(words, "")
	}
	return strings.Join(words[:last], ", ") + " or " + words[last]
}

// apply applies a URI's parameters, and reports all invalid values.
func (s *settings) apply(params url.Values) error {
	var errs []error
	for _, p := range parameters {
		values := params[p.name]
		if len(values) == 0 {
			continue
		}
		if err := p.apply(s, values); err != nil {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

func (p parameter) apply(s *settings, values []string) error {
	value, err := uri.One(p.name, values)
	if err != nil {
		return err
	}
	if err := p.set(s, value); err != nil {
		return fmt.Errorf("%s=%s: %w", p.name, uri.Shown(value), err)
	}
	return nil
}

// contradicts returns an error if a URI contradicts the settings with which the database
// is already open.
func (s settings) contradicts(open settings) error {
	for _, p := range parameters {
		if p.each || !s.uri.Has(p.name) {
			continue
		}
		same := open
		if p.set(&same, s.uri.Get(p.name)) != nil || !reflect.DeepEqual(same, open) {
			return fmt.Errorf("%s=%s: the database is already open with another %s (give all its connections the same)", p.name, uri.Shown(s.uri.Get(p.name)), p.name)
		}
	}
	return nil
}
