package shipping

import "time"

// A Policy determines when files of higher levels are made, and how long files are kept.
// The zero value makes no such files, and keeps all files.
type Policy struct {
	// Levels are the times after which changes are compacted into one file of level 1, 2,
	// ..., up to 8 of them, ascending.
	Levels []time.Duration

	// Snapshots is the time after which the whole database becomes a file of level
	// 9; zero for never.
	Snapshots time.Duration

	// KeepRaw is how long each single upload can be restored, 5 minutes at least: how
	// long its level 0 file is kept once it is compacted. A writer that slept for a
	// shorter time still finds the file that took its TXID.
	KeepRaw time.Duration

	// Keep is how far back points in time can be restored: each upload for KeepRaw, and
	// before that as far apart as files of level 1. Zero keeps all files for ever,
	// including level 0 files.
	Keep time.Duration
}

// LeastKeepRaw is the smallest [Policy.KeepRaw].
const LeastKeepRaw = 5 * time.Minute

// DefaultPolicy equals Litestream's defaults, except that Keep is a promise: the snapshot
// before the oldest point in time is kept as long as that point.
func DefaultPolicy() Policy {
	return Policy{
		Levels:    []time.Duration{30 * time.Second, 5 * time.Minute, time.Hour},
		Snapshots: 24 * time.Hour,
		KeepRaw:   5 * time.Minute,
		Keep:      24 * time.Hour,
	}
}
