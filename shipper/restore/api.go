// Package restore turns a replica in a bucket back into a database file.
//
//	store, err := storage.Open(ctx, "s3://bucket/app", storage.Options{})
//	...
//	result, err := restore.Restore(ctx, store, "app.db", restore.Options{})
//
// A restore has four steps, and only the last step touches the target:
//
//	list      the LTX files of all levels, in one listing
//	plan      a snapshot, then files that follow each other up to the requested TXID
//	apply     app.db-walvfs-restore <- each page once, from the newest file that has it
//	publish   fsync, then rename the temporary file to the target
//
// A plan is applied by a pipeline. The bytes in flight are bounded, and so is the memory,
// however large the database is:
//
//	fetch    newest file ... oldest file     up to 64 requests at a time, for small
//	                 |                       files and for pieces of large ones
//	              pieces, in order
//	                 |
//	split    keep pages in no newer file     one goroutine that reads page headers
//	                 |
//	              batches of pages
//	            /    |    \
//	work     decompress, sum, write          one goroutine a core, in any order
//	                 |
//	track    all sums of a file -> its checksum; the progress
//
// Restore does not write superseded pages, but it fetches and decompresses them. The only
// checksum that protects a page is that of its whole file, so a file can only be verified
// by reading it to its end.
//
// If retention removes a file of the plan during the restore, or a file is damaged, restore
// makes another plan to the same TXID, which may use files of another level. An interrupted
// download continues where it stopped.
//
// A restore also writes the file app.db-walvfs, which records the TXID of the database.
// An application that opens the newest state with the same replica continues it. An
// application that opens an older state finds that the replica has moved on, unless
// Options.Rewind was set.
//
// [Prepare] previews a restore, and estimates how long it takes. [Write] restores to a
// pipe, and [ReadPages] to a sink of pages.
//
// The result is a database exactly as it was at one commit, or no database: restore
// checks the size, checksum and TXIDs of every file against the listing, and checks that
// each file holds every page that it must hold. After an error, a cancelled context or a
// crash, the target is unchanged.
//
// A database is more than its main file: SQLite would replay an old write-ahead log
// into a restored file. So a "-wal", "-shm" or "-journal" file of the target is an error,
// unless Options.Force is set.
//
// One rename replaces a database. Before it, and under SQLite's own locks, restore brings
// the content of a hot journal or a write-ahead log into the old main file, exactly as
// SQLite's recovery does, and removes the empty logs. A crash of the process or the
// machine leaves either the old database or the new database, intact. There is one
// exception: if SQLite cannot read the old file, because it is encrypted or not a
// database, a crash may leave it without its logs.
package restore

import (
	"cmp"
	"context"
	"log/slog"
	"time"

	"github.com/walvfs/walvfs/format"
	"github.com/walvfs/walvfs/shipper/restore/internal/disk"
	"github.com/walvfs/walvfs/shipper/storage"
)

// Options sets what to restore and how. The zero value restores the newest TXID to a path
// where no file exists.
type Options struct {
	// TXID to restore, at which a file of the replica must end. Zero is the newest TXID.
	TXID format.TXID

	// Timestamp restores the newest TXID at or before it. It excludes TXID.
	Timestamp time.Time

	// Force replaces an existing database, together with its "-wal", "-shm" and "-journal"
	// files, unless it is in use. A file of 0 bytes without logs is not a database, see
	// [Look], and is always replaced.
	Force bool

	// Keep is the path to which Restore moves a database that Force replaces, instead of
	// removing it. It must be in the target's directory. The kept database is complete: it
	// includes the content of its "-wal" or "-journal" file. Restore removes a database that
	// an earlier restore kept there.
	Keep string

	// Confirm is called right before the database gets its name, while Restore holds a
	// SQLite writer's lock on the old database. If it fails, Restore replaces nothing and
	// returns the error. It must not open the database through SQLite. Nil always confirms.
	Confirm func() error

	// Rewind makes an older state the replica's next one: the application that opens the
	// database with this replica uploads it as the TXID after the newest, instead of finding
	// that the replica has moved on. The TXIDs in between stay restorable.
	Rewind bool

	// Parallelism is the number of concurrent requests; zero is 64. Memory has its own
	// bound.
	Parallelism int

	// Progress is called during a restore, from several goroutines, but never concurrently.
	// It should return soon.
	Progress func(Progress)

	// Logger gets a warning for each download that is retried, for each damaged file, and
	// for each new plan; nil is silent.
	Logger *slog.Logger

	hooks   disk.Hooks
	copying disk.Copying
}

// With returns the options with the additions of package follow, or of a test.
func (o Options) With(hooks disk.Hooks, copying disk.Copying) Options {
	o.hooks, o.copying = hooks, copying
	return o
}

// Progress is how far a restore has come. Files and Bytes only grow, up to the totals,
// unless restore makes another plan: then all start again from zero. The first report
// comes before the first byte.
type Progress struct {
	TXID  format.TXID // the TXID to restore
	Files int         // applied and verified
	Bytes int64       // applied, of LTX files

	TotalFiles int
	TotalBytes int64
}

// Result describes a restored database.
type Result struct {
	TXID     format.TXID
	Time     time.Time // of the TXID, as its writer recorded it
	PageSize uint32    // bytes; zero if the database is empty
	Pages    uint32    // size of the database

	Checksum format.Checksum // of the file that ends at TXID, of the lowest level that has one
	Newest   format.TXID     // that the replica had

	Files    int   // LTX files read
	Bytes    int64 // their size
	Duration time.Duration
}

// Restore writes the database that a replica holds to the file target.
//
// It fails with [ErrNoReplica] if the replica has no files, [ErrExists] if it
// would have to replace something without Options.Force, [ErrInUse] if a
// process has the old database open, and an error that wraps
// [format.ErrCorrupt] if an object is not what its writer wrote.
func Restore(ctx context.Context, store storage.Store, target string, opts Options) (Result, error) {
	start := time.Now()
	opts.Logger = cmp.Or(opts.Logger, slog.New(slog.DiscardHandler))
	opts.Parallelism = cmp.Or(max(opts.Parallelism, 0), 64)

	// Check first what costs nothing: the download may take an hour.
	place, err := openPlace(target, opts)
	if err != nil {
		return Result{}, err
	}
	from := opts.read(store)
	plan, err := from.Plan(ctx, opts.target())
	if err != nil {
		return Result{}, err
	}
	tmp, err := place.create()
	if err != nil {
		return Result{}, err
	}
	defer tmp.discard()

	db := newDatabase(opts.hooks.Wrap(tmp.name, tmp.file), tmp.name)
	db.startSync = func() { disk.StartSync(tmp.file) }
	result, marks, err := applyPlans(ctx, from, plan, db, opts)
	if err != nil {
		return Result{}, err
	}
	remember := func() error {
		if opts.copying.Remember != nil {
			return opts.copying.Remember(tmp.name)
		}
		record, err := tmp.recordOf(store, marks, db, opts.Rewind)
		if err != nil {
			return err
		}
		return record.Save(place.path)
	}
	if opts.copying.Prepare != nil {
		if err := opts.copying.Prepare(tmp.file, tmp.name, db.last); err != nil {
			return Result{}, err
		}
	}
	if err := tmp.publish(ctx, db, remember); err != nil {
		return Result{}, err
	}
	result.Duration = time.Since(start)
	return result, nil
}
