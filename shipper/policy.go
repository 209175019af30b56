package shipper

import "time"

// A Policy sets when walvfs makes files of higher levels, and how long it keeps files. A
// zero field has its default. A negative duration turns off the field's function.
type Policy struct {
	// Levels are the times after which walvfs compacts the changed pages into one file of
	// level 1, 2, ..., up to 8 levels, ascending. The default is 30 s, 5 min and 1 h. An
	// empty slice that is not nil makes no levels.
	Levels []time.Duration

	// Snapshots is the time after which the whole database becomes a file of level 9. The
	// default is 24 h; negative makes no snapshots.
	Snapshots time.Duration

	// KeepRaw is how long each single upload can be restored: the time for which walvfs
	// keeps its level 0 file after compaction. The default is 5 min, which is also the
	// minimum.
	KeepRaw time.Duration

	// Retention is how far back a point in time can be restored: each single upload for
	// KeepRaw, and older points as far apart as files of level 1. The default is 24 h;
	// negative keeps all files, level 0 files too.
	Retention time.Duration
}
