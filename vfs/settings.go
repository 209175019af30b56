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
	"sync"
	"time"

	"github.com/ncruces/go-sqlite3/vfs"

	"github.com/walvfs/walvfs/shipper"
	"github.com/walvfs/walvfs/shipper/storage"
	"github.com/walvfs/walvfs/vfs/config"
)

// settings are what one database is opened with.
type settings struct {
	replica        string
	interval       time.Duration
	closeTimeout   time.Duration
	lockTimeout    time.Duration
	overwrite      bool // a replica with another history
	ifMissing      bool // restore a database that does not exist
	ifBehind       bool // or that is behind its replica
	unfenced       bool
	sync           bool          // commits wait for the replica
	syncTimeout    time.Duration // for so long, 0 for ever
	maxLag         time.Duration // beyond which writes are refused, 0 for never
	fencedReadonly bool          // refuse writes when another writer has the replica
	policy         shipper.Policy
	storage        storage.Options
	logger         *slog.Logger
}

// configure reads the settings of a main database. It reports false if the
// file's own URI does not ask for this VFS.
func (v *replicated) configure(name *vfs.Filename) (s settings, ok bool, err error) {
	if name.URIParameter("vfs") != v.name {
		return s, false, nil
	}
	s = settings{
		interval:       max(0, cmp.Or(v.opts.Interval, time.Second)),
		closeTimeout:   max(0, cmp.Or(v.opts.CloseTimeout, 10*time.Second)),
		lockTimeout:    v.opts.LockTimeout,
		overwrite:      v.opts.Overwrite,
		ifMissing:      v.opts.RestoreIfMissing || v.opts.RestoreIfBehind,
		ifBehind:       v.opts.RestoreIfBehind,
		unfenced:       v.opts.Unfenced,
		sync:           v.opts.Sync,
		syncTimeout:    max(0, cmp.Or(v.opts.SyncTimeout, 10*time.Second)),
		maxLag:         v.opts.MaxLag,
		fencedReadonly: v.opts.FencedReadonly,
		policy:         v.opts.Policy,
		storage:        v.opts.Storage,
		logger:         v.opts.Logger,
	}
	if s.logger == nil {
		s.logger = slog.Default()
	}
	if err := v.findReplica(name, &s); err != nil {
		return s, true, err
	}
	if s.policy.IsZero() {
		s.policy = shipper.DefaultPolicy()
	}
	if s.replica == "" {
		return s, true, errors.New("walvfs: no replica for this database: add &replica=URL to its URI, set WALVFS_REPLICA to a base URL, or name the database in walvfs.yml")
	}
	err = errors.Join(
		storage.Check(s.replica),
		duration(name, "interval", &s.interval),
		duration(name, "close_timeout", &s.closeTimeout),
		duration(name, "lock_timeout", &s.lockTimeout),
		durationOrOff(name, "sync_timeout", &s.syncTimeout),
		durationOrOff(name, "max_lag", &s.maxLag),
		durationOrOff(name, "retention", &s.policy.Keep),
		durationOrOff(name, "snapshots", &s.policy.Snapshots),
		choice(name, "durability", map[string]func(){
			"async": func() { s.sync = false },
			"sync":  func() { s.sync = true },
		}),
		choice(name, "on_fenced", map[string]func(){
			"continue": func() { s.fencedReadonly = false },
			"readonly": func() { s.fencedReadonly = true },
		}),
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

// findReplica finds out where the replica is: from the URI, the options, the
// environment or the configuration file, in this order.
func (v *replicated) findReplica(name *vfs.Filename, s *settings) error {
	path := name.String()
	if s.replica = cmp.Or(name.URIParameter("replica"), v.opts.Replicas[path]); s.replica != "" {
		return nil
	}
	if base := os.Getenv("WALVFS_REPLICA"); base != "" {
		s.replica = strings.TrimRight(base, "/") + "/" + filepath.Base(path)
		return nil
	}
	file, err := readConfig(os.Getenv(config.EnvPath))
	if err != nil {
		return fmt.Errorf("walvfs: %w", err)
	}
	db, ok := file.DB(path)
	if !ok {
		return nil
	}
	if err := db.CheckWrite(); err != nil {
		return fmt.Errorf("walvfs: %w", err)
	}
	s.replica, s.storage = db.URL, cmp.Or(v.opts.Storage, db.Options)
	if v.opts.Interval == 0 && db.Interval != 0 {
		s.interval = max(0, db.Interval)
	}
	if v.opts.Policy.IsZero() {
		s.policy = db.Policy
	}
	s.ifMissing = s.ifMissing || db.RestoreIfMissing
	return nil
}

// configs are the configuration files that were read, by what named them: a process
// may open thousands of databases.
var configs sync.Map

func readConfig(named string) (*config.Config, error) {
	if c, ok := configs.Load(named); ok {
		return c.(*config.Config), nil
	}
	c, err := config.Find(named)
	if err == nil {
		configs.Store(named, c)
	}
	return c, err
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
