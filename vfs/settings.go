package vfs

import (
	"cmp"
	"log/slog"
	"net/url"
	"slices"
	"time"

	"github.com/ncruces/go-sqlite3/vfs"

	"github.com/walvfs/walvfs/internal/shipping"
	"github.com/walvfs/walvfs/shipper"
	"github.com/walvfs/walvfs/shipper/storage"
	"github.com/walvfs/walvfs/vfs/config"
)

// settings are the settings with which a database is opened.
type settings struct {
	replica      string
	fromBase     bool // the replica's URL is WALVFS_REPLICA with the file name appended
	interval     time.Duration
	closeTimeout time.Duration
	lockTimeout  time.Duration
	diverged     Diverged
	restore      Restore
	adopt        Adopt
	fencing      Fencing
	durability   Durability
	syncTimeout  time.Duration // how long commits wait for the replica, 0 for ever
	maxLag       time.Duration // the lag beyond which writes are refused, 0 for none
	onFenced     OnFenced
	policy       shipping.Policy
	storage      storage.Options
	uri          url.Values   // its parameters
	parameters   []string     // that the VFS underneath reads
	logger       *slog.Logger // queues calls
	calls        *callbacks
}

// configure reads the settings of a main database. It reports false if the file's own URI
// does not name this VFS.
func (v *replicated) configure(name *vfs.Filename) (s settings, ok bool, err error) {
	params := name.URIParameters()
	ok, err = v.asked(params)
	if !ok || err != nil {
		return s, ok, err
	}
	s = v.defaults()
	if !params.Has("replica") {
		if err := v.findReplica(name.String(), &s); err != nil {
			return s, true, err
		}
	}
	s.uri = params
	if err := s.apply(params); err != nil {
		return s, true, err
	}
	s.storage.Unconditional = s.fencing == FencingOff
	return s, true, storage.Check(s.replica)
}

// defaults are the settings of a database whose URI has none.
func (v *replicated) defaults() settings {
	calls := &callbacks{}
	return settings{
		interval:     max(0, cmp.Or(v.opts.Interval, time.Second)),
		closeTimeout: max(0, cmp.Or(v.opts.CloseTimeout, 10*time.Second)),
		lockTimeout:  max(0, v.opts.LockTimeout),
		diverged:     v.opts.Diverged,
		restore:      v.opts.Restore,
		adopt:        v.opts.Adopt,
		fencing:      v.opts.Fencing,
		durability:   v.opts.Durability,
		syncTimeout:  max(0, cmp.Or(v.opts.SyncTimeout, 10*time.Second)),
		maxLag:       max(0, v.opts.MaxLag),
		onFenced:     v.opts.OnFenced,
		policy:       effective(v.opts.Policy),
		storage:      v.opts.Storage,
		parameters:   v.opts.Parameters,
		logger:       calls.logger(cmp.Or(v.opts.Logger, slog.Default())),
		calls:        calls,
	}
}

// effective returns a policy whose fields come from the first of several policies that
// sets them, and otherwise from the default.
func effective(policies ...shipper.Policy) shipping.Policy {
	p := shipping.DefaultPolicy()
	for _, q := range slices.Backward(policies) {
		if q.Levels != nil {
			p.Levels = q.Levels
		}
		p.Snapshots = cmp.Or(q.Snapshots, p.Snapshots)
		p.KeepRaw = cmp.Or(q.KeepRaw, p.KeepRaw)
		p.Keep = cmp.Or(q.Retention, p.Keep)
	}
	p.Snapshots, p.Keep = max(0, p.Snapshots), max(0, p.Keep)
	return p
}

// findReplica finds the replica of a database whose URI does not name it: in the
// options, the environment or the configuration file, in this order.
func (v *replicated) findReplica(path string, s *settings) error {
	if s.replica = v.opts.Replicas[path]; s.replica != "" {
		return nil
	}
	db, fromBase, err := config.Locate(path)
	if err == nil {
		err = db.CheckWrite()
	}
	if err != nil {
		return err
	}
	s.fromBase = fromBase
	s.replica, s.storage = db.URL, cmp.Or(v.opts.Storage, db.Options)
	if v.opts.Interval == 0 && db.Interval != 0 {
		s.interval = max(0, db.Interval)
	}
	s.policy = effective(v.opts.Policy, db.Policy)
	if db.RestoreIfMissing {
		s.restore = max(s.restore, RestoreIfMissing)
	}
	return nil
}

// baseHint follows a message about another database's replica whose URL is from the
// environment.
const baseHint = config.EnvBase + " tells databases apart by their file names only: add replica=URL to the URI of one of them, or name both in walvfs.yml instead"

// foreignHint continues a message about a replica that another database wrote.
func (s settings) foreignHint() string {
	if s.fromBase {
		return "; " + baseHint
	}
	return ""
}
