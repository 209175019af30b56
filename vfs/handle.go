package vfs

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"

	"github.com/ncruces/go-sqlite3"

	"github.com/walvfs/walvfs/internal/shipping"
	"github.com/walvfs/walvfs/shipper"
)

// A DB is a database that is open and replicated in this process. It is a handle of its
// replication, not a connection, and need not be closed. It is valid until the last
// connection to the database is closed: when the database is opened again, [Lookup]
// returns another DB. Its methods are safe for concurrent use.
type DB struct{ d *database }

// ErrNotReplicated: no database of that path is open and replicated.
var ErrNotReplicated = errors.New("not open through a replicating VFS")

// Lookup finds a database that is open and replicated in this process, by any name of its
// file, relative or absolute. It fails with [ErrNotReplicated] if no connection has it open
// through a VFS of this package, and as [filepath.EvalSymlinks] does if the file does not
// exist.
func Lookup(path string) (*DB, error) {
	full, err := filepath.EvalSymlinks(path)
	if err == nil {
		full, err = filepath.Abs(full)
	}
	if err != nil {
		return nil, err
	}
	if d := databases.find(full); d != nil {
		return &DB{d}, nil
	}
	return nil, fmt.Errorf("walvfs: %s: %w", path, ErrNotReplicated)
}

// Databases returns all databases that are open and replicated in this process, in no
// particular order.
func Databases() []*DB {
	databases.mu.Lock()
	defer databases.mu.Unlock()
	list := make([]*DB, 0, len(databases.byPath))
	for _, d := range databases.byPath {
		list = append(list, &DB{d})
	}
	return list
}

// Path returns the database's absolute path.
func (db *DB) Path() string { return db.d.path }

// Status returns the current state of replication. It reads neither the store nor the
// disk. After the last close, it returns the state at that close.
func (db *DB) Status() shipper.Status {
	st := db.d.ship.Status()
	st.Path, st.Replica = db.d.path, db.d.store.String()
	return st
}

// Wait returns when the replica has every connection's commits until now. It does not
// force more uploads than the load needs: waiting callers share uploads. Its errors are
// those of [DB.Flush]. [WaitConn] waits only for one connection's commits.
func (db *DB) Wait(ctx context.Context) error {
	return db.d.shipped(ctx, func() error { return db.d.ship.Wait(ctx, shipping.Commit{}) })
}

// Flush ships all commits until now, and returns when the replica has them, without
// waiting for the interval, or for the pause after a failure. It fails if replication has
// halted, if the last close did not ship every commit, and with the last error of
// replication if ctx ends first.
func (db *DB) Flush(ctx context.Context) error {
	return db.d.shipped(ctx, func() error { return db.d.ship.Drain(ctx) })
}

// Explain returns an error with its cause if it is [ErrUnconfirmed], [ErrLag] or [ErrFenced],
// and any other error unchanged. A program that logs the result logs that the replica was
// not reached, and not "disk I/O error". The cause is that of the last transaction that
// failed with this error, on any connection to this database: [Cause] returns that of a
// given connection.
func (db *DB) Explain(err error) error {
	for _, code := range []sqlite3.ExtendedErrorCode{ErrUnconfirmed, ErrLag, ErrFenced} {
		if !errors.Is(err, code) {
			continue
		}
		if cause, ok := db.d.causes.Load(code); ok {
			return fmt.Errorf("%w: %w", err, cause.(error))
		}
	}
	return err
}

// Compact returns when replication has done all due work other than commits: files of
// levels, a snapshot, and the deletion of expired files. The age of the replica's files
// decides what is due, after the first commit. A program that runs briefly need not call
// it: its last close waits for the same work, within the close timeout. It fails if ctx
// ends first, and if replication has ended. A request that fails is logged, and retried
// later.
func (db *DB) Compact(ctx context.Context) error {
	return identified(db.d.ship.Compact(ctx))
}
