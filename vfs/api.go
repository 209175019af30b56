// Package vfs wraps an SQLite VFS so that the databases opened through it are
// replicated to object storage.
//
// Importing the package registers the VFS "replicated". Import a storage driver, too,
// and name the replica in the database's URI:
//
//	import (
//		_ "github.com/ncruces/go-sqlite3/driver"
//		_ "github.com/walvfs/walvfs/shipper/storage/s3"
//		_ "github.com/walvfs/walvfs/vfs"
//	)
//
//	db, err := sql.Open("sqlite3", "file:app.db?vfs=replicated&replica=s3://bucket/app")
//
// Only a file whose own URI says vfs=replicated is replicated. Temporary and in-memory
// databases, attached plain files and the targets of VACUUM INTO are not. An attached
// database is replicated if its URI says so. If the VFS cannot honour a URI, the open
// fails: a parameter without vfs=replicated is an error, and so is vfs=NAME of a VFS that
// wraps this one.
//
// # URI parameters
//
//	replica=URL        the replica: file:///dir, s3://bucket/path, gs://bucket/path.
//	                   Escape &, ? and % in it. Without it, the environment
//	                   variable WALVFS_REPLICA is a base URL, and the database's
//	                   file name, escaped, is appended to its path; without that,
//	                   the configuration file that package config describes names
//	                   the replica by the database's path.
//	interval=1s        at most one upload in this time; 0 for no limit
//	durability=async   with sync, each commit waits until the replica has it. If the
//	                   replica does not confirm it, the commit fails, although it is
//	                   made locally: see ErrUnconfirmed.
//	sync_timeout=10s   how long a commit waits; off for no limit
//	max_lag=off        writes fail, and reads still work, while the replica lacks a
//	                   commit that is older than this duration
//	on_fenced=continue readonly refuses writes as soon as this process knows that another
//	                   writer owns the replica
//	close_timeout=10s  how long the last close waits for the replica
//	lock_timeout=0s    how long to wait for another process that has the database
//	                   open through this VFS, as in a rolling deployment
//	restore=never      if-missing restores a database that does not exist from its
//	                   replica before it is opened; if-behind also restores a database
//	                   that is behind its replica, or whose disk has lost commits that the
//	                   replica has, and keeps the old file as "-walvfs-behind"
//	adopt=moved        which database may continue a replica that another file wrote:
//	                   moved: the file that wrote it, under its new name; equal:
//	                   any database that equals the replica's newest state page for
//	                   page, such as a copy, a database on another machine or a
//	                   database that Litestream replicated; an original that still
//	                   runs is fenced; never: no other file
//	diverged=halt      what to do when the replica holds another history:
//	                   halt, or overwrite it with this database's content
//	keep_raw=5m        each upload can be restored for at least this time; older points
//	                   in time are as far apart as files of level 1
//	retention=24h      how far back points in time can be restored; off keeps all files
//	snapshots=24h      how often a snapshot is made; off for never
//	fencing=on         off accepts a store that does not support put-if-absent: then
//	                   nothing stops two writers from mixing their histories, and an
//	                   upload of an earlier run that arrives late is such a writer, too
//
// A URI may also have the parameters of SQLite, of go-sqlite3 and its driver, and those in
// [Options.Parameters]. The open fails if the URI has any other parameter, if it has one of
// the parameters above twice with different values, or if nolock or immutable is on, which
// hide the database from replication. Each connection has its own durability and
// sync_timeout. The other parameters hold for all connections of a process to a
// database: a connection whose URI contradicts that of the first one does not open.
//
// # Pragmas
//
//	PRAGMA walvfs_durability=sync  sets durability for this connection; returns it
//	PRAGMA walvfs_wait             waits until the replica has all commits of this
//	                               connection, and returns the newest TXID: a reader
//	                               that sees this TXID sees these commits; see TXID
//	PRAGMA walvfs_txid             returns the newest TXID that the replica has
//	PRAGMA walvfs_error            returns why the replica last made a transaction of
//	                               this connection fail, or none
//	PRAGMA walvfs_status           returns the state of replication, as JSON
//
// # Durability
//
// With durability=sync, a commit returns without an error only if the replica has it,
// whatever the journal mode, the locking mode, open cursors and attached databases.
// If the replica does not confirm a commit within sync_timeout, the commit fails with
// [ErrUnconfirmed]. The first commit of a new file cannot fail: it waits, and if it is
// not confirmed, the next statement on its connection fails, once. The VFS refuses writes
// that it could not confirm: writes to a database that cannot be put into WAL mode yet,
// because a SELECT is still open or a connection has an exclusive lock, and writes in a
// transaction over two or more other databases that have rollback journals.
//
// A waiting commit keeps its read mark, so that the WAL cannot start over. If the WAL grows
// by more than [MaxWALGrowth] while the replica acknowledges nothing, waiting commits
// fail, and later commits fail without waiting. A waiting commit also ends when its
// connection is interrupted, unless it was interrupted before.
//
// # What it does to a database
//
// The VFS puts the database into WAL mode and keeps it there. An empty database is put into
// WAL mode after its first commit, so that the application can choose its page_size and
// auto_vacuum. It adds one file in the database's directory, "-walvfs", which holds this
// copy's state of replication. During a restore, another file whose name begins with
// "-walvfs" may exist, and "-walvfs-behind" is the database that restore=if-behind
// replaced. These files and SQLite's own have the mode of the database and, if root
// creates them, its owner and group. Nothing else changes: the VFS adds no tables, forces
// no checkpoint, and delays a checkpoint no longer than it takes to read a cut.
//
// # Encryption
//
// A VFS that encrypts the database, such as xts and adiantum of go-sqlite3, cannot be
// combined with this one: the open fails. With such a VFS underneath, the replica would
// hold plain text; with such a VFS on top, the URIs of its files do not request
// replication. Encrypt the disk and the bucket instead.
//
// # Logs and events
//
// The VFS logs with log/slog to [Options.Logger]. It logs an outage when the outage
// begins, less and less often while it lasts, and when it ends. It repeats a halt at
// least every 10 minutes. Loggers and listeners run in a goroutine of their own, one call
// at a time for a database, and may use that database. The names of attributes are
// stable:
//
//	db, replica         the database's path, and the replica's URL without secrets
//	error               what failed
//	halted_for          the time since replication halted
//	remedy              what to do about another writer; other errors contain their remedy
//	retry_in            the time until the next try
//	failing_for, after  the time since the first failure
//	tip, txid           the newest TXID of the replica; another TXID
//	lag                 the age of the oldest commit that the replica lacks
//	pages, bytes, files a number of these
//	ltx_level, from, to the level and the TXIDs of a file
//	reason              why walvfs uploads the whole database again, or replaces it
//
// [Listen] and [Options.Events] notify a program of events. [DB.Status] and PRAGMA
// walvfs_status return the current state, and package metrics exports it to Prometheus.
//
// # Where it runs
//
// The VFS runs on Linux and macOS, where the WAL index is a file that replication can read.
// On Linux, a cut locks a read mark of the WAL index by itself, and a lock keeps a second
// process from replicating the same database. On macOS, a cut is a read transaction of
// SQLite. Rarely, such a transaction makes a writer without a busy timeout fail.
//
// # How it works
//
// The VFS sees what SQLite writes, but it does not copy pages. When the WAL starts over,
// it keeps the numbers of the pages that changed; until then, the WAL itself is the queue.
// A cut reads the newest content of the changed pages at a commit boundary, in a read
// transaction of its own:
//
//	foreground (application)            background (one run at a time)
//	──────────────────────────          ───────────────────────────────
//	frame ▶ WAL                         read transaction
//	commit ──────── wake ─────────────▶ boundary from the WAL index
//	WAL starts over:                    frames since the last boundary
//	  its pages become dirty ─────────▶ dirty pages ▶ LTX ▶ replica
package vfs

import (
	"log/slog"
	"time"

	"github.com/ncruces/go-sqlite3/vfs"

	"github.com/walvfs/walvfs/shipper"
	"github.com/walvfs/walvfs/shipper/storage"
)

func init() { Register("replicated", Options{}) }

// Options configure a VFS. URI parameters of a database take precedence.
type Options struct {
	// Base names the VFS underneath. Its files must be the operating system's, with the
	// bytes that the VFS shows: an encrypting VFS is refused. The default is the
	// operating system's VFS.
	Base string

	// Replicas are replica URLs by database file, as absolute paths.
	Replicas map[string]string

	// Storage holds the store's options that replica URLs do not contain.
	Storage storage.Options

	// Parameters are names of further URI parameters, for a VFS underneath that reads
	// them. An unknown parameter is an error.
	Parameters []string

	// Interval is the least time between two uploads. The default is 1 s; [Off] means no
	// limit.
	Interval time.Duration

	// Durability says when a commit returns. With [DurabilitySync], all connections share
	// uploads, and reads and other writes continue meanwhile. A commit that the replica
	// does not confirm fails with [ErrUnconfirmed], although it is made locally.
	Durability Durability

	// SyncTimeout is how long a commit waits for the replica. The default is 10 s; [Off]
	// means no limit.
	SyncTimeout time.Duration

	// MaxLag refuses writes with [ErrLag] while the replica lacks a commit that is older
	// than this. The default is [Off].
	MaxLag time.Duration

	// OnFenced says what to do when another writer owns the replica.
	OnFenced OnFenced

	// CloseTimeout is how long the last close of a database waits for its replica. The
	// default is 10 s; [Off] means that it does not wait.
	CloseTimeout time.Duration

	// LockTimeout is how long to wait for another process that has the database open
	// through this VFS. The default is [Off].
	LockTimeout time.Duration

	// Restore says whether a database is restored before it is opened.
	Restore Restore

	// Adopt says which database may continue a replica that another file wrote.
	Adopt Adopt

	// Diverged says what to do if the replica holds another history.
	Diverged Diverged

	// Fencing says whether the store must support put-if-absent.
	Fencing Fencing

	// Policy says when files are compacted and how long they are kept. [Off] turns off
	// snapshots and retention.
	Policy shipper.Policy

	// Logger defaults to [slog.Default].
	Logger *slog.Logger

	// Events receives the events of this VFS's databases. See also [Listen].
	Events EventListener
}

// Register makes a replicating VFS available to SQLite under a name, with its
// own options. It also registers name + ".internal", for its own connections.
func Register(name string, opts Options) {
	base := vfs.Find(opts.Base)
	if base == nil {
		panic("vfs: no VFS named " + opts.Base)
	}
	vfs.Register(name, &replicated{VFS: base, name: name, opts: opts})
	vfs.Register(name+internalSuffix, &replicated{VFS: base, name: name, opts: opts, internal: true})
}

const internalSuffix = ".internal"
