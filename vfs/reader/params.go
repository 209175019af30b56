package reader

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/url"
	"slices"
	"time"

	"github.com/dustin/go-humanize"

	"github.com/walvfs/walvfs/format"
	"github.com/walvfs/walvfs/shipper/replica"
	"github.com/walvfs/walvfs/shipper/storage"
	"github.com/walvfs/walvfs/vfs/config"
	"github.com/walvfs/walvfs/vfs/internal/uri"
)

// settings are the settings that open one connection.
type settings struct {
	replica  string
	target   replica.Target // zero: the newest state
	interval time.Duration
	memory   int64  // bytes of cached pages
	dir      string // of the disk cache, empty for none
	size     int64  // of the disk cache, in bytes
	timeout  time.Duration
	storage  storage.Options
	logger   *slog.Logger
}

// A parameter is one of this VFS's parameters in a database's URI.
type parameter struct {
	name string
	set  func(s *settings, value string) error // the error names neither parameter nor value
}

var parameters = []parameter{
	{"replica", func(s *settings, value string) error { s.replica = value; return nil }},
	{"timestamp", func(s *settings, value string) (err error) {
		s.target.Timestamp, err = replica.ParseMoment(value, time.Time{})
		return err
	}},
	{"txid", func(s *settings, value string) (err error) { s.target.TXID, err = parseTXID(value); return err }},
	{"interval", func(s *settings, value string) error {
		d, err := time.ParseDuration(value)
		if err != nil || d < 0 {
			return errors.New("expected a duration such as 500ms or 10s")
		}
		s.interval = d
		return nil
	}},
	{"cache_memory", func(s *settings, value string) error { return setSize(&s.memory, value, leastMemory) }},
	{"cache_dir", func(s *settings, value string) error { s.dir = value; return nil }},
	{"cache_size", func(s *settings, value string) error { return setSize(&s.size, value, leastSize) }},
}

// setSize parses a number of bytes.
func setSize(field *int64, value string, least uint64) error {
	n, err := humanize.ParseBytes(value)
	if err != nil || n < least || n > 1<<50 {
		return fmt.Errorf("expected a size such as 64MiB, at least %dMiB", least>>20)
	}
	*field = int64(n)
	return nil
}

func parseTXID(value string) (format.TXID, error) {
	txid, err := format.ParseTXID(value)
	if err != nil {
		return 0, errors.New("expected a TXID: 1 to 16 hexadecimal digits, at least 1")
	}
	return txid, nil
}

// asked reports whether a file's URI asks for this VFS. It returns an error if the URI
// asks for something that the VFS does not do.
func (r *reader) asked(params url.Values) (bool, error) {
	own := slices.ContainsFunc(parameters, func(p parameter) bool { return params.Has(p.name) })
	switch name := params.Get("vfs"); {
	case name == r.name, name == "" && own:
		return true, r.check(params)
	case name != "" && own:
		return false, fmt.Errorf("the parameters of a replica need vfs=%s, not vfs=%s", r.name, uri.Shown(name))
	}
	return false, nil
}

// check reports all parameters that the VFS does not read.
func (r *reader) check(params url.Values) error {
	var errs []error
	for _, name := range slices.Sorted(maps.Keys(params)) {
		switch {
		case slices.ContainsFunc(parameters, func(p parameter) bool { return p.name == name }),
			slices.Contains(uri.Driver, name):
		case name == "immutable" && slices.ContainsFunc(params[name], uri.IsTrue):
			errs = append(errs, errors.New("immutable declares that the database never changes (remove it, or name the state to read with txid or timestamp)"))
		case name == "nolock" && slices.ContainsFunc(params[name], uri.IsTrue):
			errs = append(errs, errors.New("nolock hides where transactions begin and end (remove it)"))
		case slices.Contains(uri.SQLite, name):
		default:
			errs = append(errs, fmt.Errorf("unknown parameter %s (%s)", uri.Shown(name), hint(name)))
		}
	}
	return errors.Join(errs...)
}

func hint(name string) string {
	var known []uri.Known
	for _, p := range parameters {
		known = append(known, uri.Known{Name: p.name})
	}
	return uri.Hint(name, known)
}

// apply sets the parameters of a URI, and reports all errors in their values.
func (s *settings) apply(params url.Values) error {
	var errs []error
	for _, p := range parameters {
		values := params[p.name]
		if len(values) == 0 {
			continue
		}
		value, err := uri.One(p.name, values)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		if err := p.set(s, value); err != nil {
			errs = append(errs, fmt.Errorf("%s=%s: %w", p.name, uri.Shown(value), err))
		}
	}
	switch {
	case len(errs) > 0:
		return errors.Join(errs...)
	case s.target.TXID != 0 && !s.target.Timestamp.IsZero():
		return errors.New("both txid and timestamp are given (keep one of them)")
	}
	return nil
}

// locate finds the replica of a database if neither its URI nor the options name it.
func (s *settings) locate(path string) error {
	if s.replica == "" {
		db, _, err := config.Locate(path)
		if err != nil {
			return err
		}
		s.replica, s.storage = db.URL, cmp.Or(s.storage, db.Options)
	}
	return storage.Check(s.replica)
}
