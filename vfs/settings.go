package vfs

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/ncruces/go-sqlite3/vfs"

	"github.com/walvfs/walvfs/shipper"
	"github.com/walvfs/walvfs/shipper/storage"
)

// settings are what one database is opened with.
type settings struct {
	replica      string
	interval     time.Duration
	closeTimeout time.Duration
	lockTimeout  time.Duration
	overwrite    bool // a replica with another history
	ifMissing    bool // restore a database that does not exist
	ifBehind     bool // or that is behind its replica
	unfenced     bool
	policy       shipper.Policy
	storage      storage.Options
	logger       *slog.Logger
}

// configure reads the settings of a main database. It reports false if the
// file's own URI does not ask for this VFS.
func (v *replicated) configure(name *vfs.Filename) (s settings, ok bool, err error) {
	if name.URIParameter("vfs") != v.name {
		return s, false, nil
	}
	s = settings{
		replica:      v.replicaOf(name),
		interval:     max(0, cmp.Or(v.opts.Interval, time.Second)),
		closeTimeout: max(0, cmp.Or(v.opts.CloseTimeout, 10*time.Second)),
		lockTimeout:  v.opts.LockTimeout,
		overwrite:    v.opts.Overwrite,
		ifMissing:    v.opts.RestoreIfMissing || v.opts.RestoreIfBehind,
		ifBehind:     v.opts.RestoreIfBehind,
		unfenced:     v.opts.Unfenced,
		policy:       v.opts.Policy,
		storage:      v.opts.Storage,
		logger:       v.opts.Logger,
	}
	if s.logger == nil {
		s.logger = slog.Default()
	}
	if s.policy.IsZero() {
		s.policy = shipper.DefaultPolicy()
	}
	if s.replica == "" {
		return s, true, errors.New("walvfs: no replica for this database: add &replica=URL to its URI, or set WALVFS_REPLICA to a base URL")
	}
	err = errors.Join(
		storage.Check(s.replica),
		duration(name, "interval", &s.interval),
		duration(name, "close_timeout", &s.closeTimeout),
		duration(name, "lock_timeout", &s.lockTimeout),
		durationOrOff(name, "retention", &s.policy.Keep),
		durationOrOff(name, "snapshots", &s.policy.Snapshots),
		choice(name, "diverged", map[string]func(){
			"halt":      func() { s.overwrite = false },
			"overwrite": func() { s.overwrite = true },
		}),
		choice(name, "restore", map[string]func(){
			"never":      func() { s.ifMissing, s.ifBehind = false, false },
			"if-missing": func() { s.ifMissing, s.ifBehind = true, false },
			"if-behind":  func() { s.ifMissing, s.ifBehind = true, true },
		}),
		choice(name, "fencing", map[string]func(){
			"on":  func() { s.unfenced = false },
			"off": func() { s.unfenced = true },
		}),
	)
	s.storage.Unconditional = s.unfenced
	return s, true, err
}

func (v *replicated) replicaOf(name *vfs.Filename) string {
	if url := name.URIParameter("replica"); url != "" {
		return url
	}
	path := name.String()
	if url := v.opts.Replicas[path]; url != "" {
		return url
	}
	if base := os.Getenv("WALVFS_REPLICA"); base != "" {
		return strings.TrimRight(base, "/") + "/" + filepath.Base(path)
	}
	return ""
}

func duration(name *vfs.Filename, key string, d *time.Duration) error {
	value := name.URIParameter(key)
	if value == "" {
		return nil
	}
	parsed, err := time.ParseDuration(value)
	if err != nil || parsed < 0 {
		return fmt.Errorf("walvfs: %s=%s: expected a duration such as 500ms or 10s", key, value)
	}
	*d = parsed
	return nil
}

// durationOrOff is duration, with 0 for off.
func durationOrOff(name *vfs.Filename, key string, d *time.Duration) error {
	if name.URIParameter(key) == "off" {
		*d = 0
		return nil
	}
	return duration(name, key, d)
}

func choice(name *vfs.Filename, key string, choices map[string]func()) error {
	value := name.URIParameter(key)
	if value == "" {
		return nil
	}
	choose, ok := choices[value]
	if !ok {
		known := slices.Sorted(maps.Keys(choices))
		return fmt.Errorf("walvfs: %s=%s: expected %s", key, value, strings.Join(known, " or "))
	}
	choose()
	return nil
}
