// Package reader implements an SQLite VFS that reads a replica as a database, at its
// newest state or at any moment that can be restored, without restoring it.
//
// Importing the package registers the VFS "replica". Import a storage driver, too:
//
//	import _ "github.com/walvfs/walvfs/vfs/reader"
//	import _ "github.com/walvfs/walvfs/shipper/storage/s3"
//
//	db, err := sql.Open("sqlite3", "file:app.db?vfs=replica&replica=s3://bucket/app")
//
// The replica can be written by walvfs or by Litestream. The VFS fetches pages when SQLite
// asks for them. The name, app.db, is only a label: no local file of that name is read or
// written. If the URI names no replica, the label is used to find it.
//
// # URI parameters
//
//	replica=URL        the replica: file:///dir, s3://bucket/path or gs://bucket/path.
//	                   Escape &, ? and % in it. Without it, the VFS finds the replica as
//	                   a writer does that opens the same name with vfs=replicated: below
//	                   the base URL in the environment variable WALVFS_REPLICA, or in
//	                   the configuration file that package config describes, with the
//	                   credentials there.
//	timestamp=         read the state of this time, such as 2026-01-02T15:04:05Z or
//	                   2026-01-02 15:04, and stay there; without a zone it is UTC
//	txid=              read the state of this TXID, up to 16 hexadecimal digits, and stay
//	                   there
//	interval=1s        how often to ask for newer states, at most
//	cache_memory=64MiB how much memory the cached pages of one replica take, at most; all
//	                   connections share it
//	cache_dir=         a directory that caches parts of the replica's files; processes can
//	                   share it, and it outlives restarts. Without it, the cache is in memory
//	cache_size=1GiB    how many bytes the cached parts in that directory take, at most;
//	                   other files in it are left alone
//
// A URI may also have the parameters of SQLite and of go-sqlite3's driver. The open fails if
// it has any other parameter. Connections to the same replica share what they have read.
//
// # Transactions
//
// A read transaction sees one TXID from its beginning to its end, whatever is uploaded
// meanwhile. When a transaction begins, and the VFS has not asked the store for a newer
// state within the last interval, it asks: this is one small request if there is none. A
// connection without transactions makes no requests. While the store does not answer,
// transactions see the newest known state, and PRAGMA walvfs_status says so.
// The TXID that a connection sees never goes back, unless a PRAGMA moves it.
//
// The writer's retention may remove a file that a transaction reads. The VFS then reads
// the pages of the same TXID from other files. If no other files lead to that TXID, the
// read fails with [sqlite3.IOERR_READ], and a new transaction sees a newer state.
//
// # Writes
//
// The database is read-only: the first write of a transaction fails with
// [sqlite3.READONLY]. PRAGMA journal_mode=... and locking_mode=exclusive fail. Files whose
// URIs do not name a replica, such as attached databases, targets of VACUUM INTO and
// temporary files, are left to the default VFS.
//
// SQLite reports locking_mode only to the VFS of the main database. If a replica is
// attached to another database, locking_mode=exclusive is not refused, and the replica
// stays at one TXID.
//
// # Pragmas
//
//	PRAGMA walvfs_txid              returns the TXID that this connection sees
//	PRAGMA walvfs_txid='...'        moves the connection to a TXID, where it stays; with
//	                                latest, it follows the newest state again
//	PRAGMA walvfs_time              returns the time of that TXID, as its writer recorded it
//	PRAGMA walvfs_time='...'        moves the connection to the state of a time, which may be
//	                                an age such as 5 minutes ago, or latest
//	PRAGMA walvfs_lag               returns how many seconds ago the state that this
//	                                connection sees was last known to be the newest
//	PRAGMA walvfs_wait_txid='...'   waits until the replica has a TXID, up to
//	                                [Options.Timeout], and returns the TXID seen then
//	PRAGMA walvfs_verify            reads and checks every file of the TXID that this
//	                                connection sees; returns ok, or a line for each damaged
//	                                file
//	PRAGMA walvfs_error             returns why a read of this connection failed last, or
//	                                none; SQLite itself reports only a code
//	PRAGMA walvfs_status            returns what is known of the replica, as JSON
//
// A connection cannot be moved while one of its transactions or statements reads. An
// interrupted connection stops waiting for the replica.
//
// # What is checked
//
// The VFS reads a file of up to 64 KiB whole, and verifies its checksum. From a larger file,
// it reads single pages: the frame of a page must repeat the page's number and decompress to
// one page. Only the checksum of the whole file proves more. PRAGMA walvfs_verify checks it for
// the files that lead to the TXID that the connection sees: it downloads all of them, even if
// their pages are cached, and does not change the caches. "walvfs verify" checks every file of
// the replica, and that they agree. If a file is damaged, all connections of the process use
// other files instead from then on, as they do for a removed file.
//
// # Pages
//
// SQLite sees the restored database, except for a few bytes of page 1: the bytes at 18 and
// 19 say that there is no WAL, and the change counter, at 24 and at 92, is the TXID.
package reader

import (
	"cmp"
	"log/slog"
	"time"

	"github.com/ncruces/go-sqlite3/vfs"

	"github.com/walvfs/walvfs/shipper/storage"
)

func init() { Register("replica", Options{}) }

// Options configure a VFS. URI parameters of a database take precedence.
type Options struct {
	// Replica is the URL of the replica to read, for databases whose URI names none.
	Replica string

	// Storage holds what replica URLs do not say.
	Storage storage.Options

	// Interval is how often to ask for newer states, at most. The default is 1 s;
	// negative means with each transaction.
	Interval time.Duration

	// CacheMemory is how many bytes the cached pages of one replica take, at most. The
	// default is 64 MiB; the least is 1 MiB.
	CacheMemory int64

	// CacheDir is a directory for parts of the replica's files. Processes share the
	// parts, and restarts keep them. They hold the replica's data in plain text. If the
	// directory does not exist, it is created with access for the user only.
	CacheDir string

	// CacheSize is how many bytes the files in CacheDir take, at most, if one process
	// writes there; each further process adds a sixteenth. The default is 1 GiB; the
	// least is 16 MiB.
	CacheSize int64

	// Timeout is how long a request may go without progress, and how long a read waits,
	// including all its retries. The default is 30 s.
	Timeout time.Duration

	// Logger defaults to [slog.Default].
	Logger *slog.Logger
}

const (
	defaultInterval = time.Second
	defaultMemory   = 64 << 20
	leastMemory     = 1 << 20
	defaultSize     = 1 << 30
	leastSize       = 16 << 20
	defaultTimeout  = 30 * time.Second
)

func (o Options) settings() settings {
	return settings{
		replica:  o.Replica,
		interval: max(0, cmp.Or(o.Interval, defaultInterval)),
		memory:   max(leastMemory, cmp.Or(o.CacheMemory, defaultMemory)),
		dir:      o.CacheDir,
		size:     max(leastSize, cmp.Or(o.CacheSize, defaultSize)),
		timeout:  cmp.Or(max(0, o.Timeout), defaultTimeout),
		storage:  o.Storage,
		logger:   cmp.Or(o.Logger, slog.Default()),
	}
}

// Register makes a VFS that reads replicas available to SQLite under a name, with the
// given options.
func Register(name string, opts Options) {
	vfs.Register(name, &reader{name: name, opts: opts})
}
