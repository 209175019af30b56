package reader

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"time"

	"github.com/ncruces/go-sqlite3"
	"github.com/ncruces/go-sqlite3/vfs"

	"github.com/walvfs/walvfs/format"
	"github.com/walvfs/walvfs/shipper/replica"
)

// conn is a connection's file: the database at the connection's TXID.
type conn struct {
	source   *source
	name     string
	interval time.Duration
	lock     vfs.LockLevel
	view     *view // does not change while the lock is held, except for the files that it reads
	fixed    bool  // stays at its TXID
	page     []byte
	cause    error                                       // of the last failed read, nil if no read has failed
	stream   stream                                      // how the connection reads the database
	seen     format.TXID                                 // the TXID of the stream
	db       interface{ GetInterrupt() context.Context } // nil until the database is open
}

var (
	_ vfs.File          = (*conn)(nil)
	_ vfs.FileLockState = (*conn)(nil)
)

// SetDB implements an interface that package vfs does not export.
func (c *conn) SetDB(db any) { c.db, _ = db.(interface{ GetInterrupt() context.Context }) }

// interrupt returns a context that is done when the connection's statement is
// interrupted.
func (c *conn) interrupt() context.Context {
	if c.db != nil {
		if ctx := c.db.GetInterrupt(); ctx != nil {
			return ctx
		}
	}
	return context.Background()
}

// context bounds one wait of SQLite.
func (c *conn) context() (context.Context, context.CancelFunc) {
	return c.source.context(c.interrupt())
}

// move moves the connection to another moment.
func (c *conn) move(t replica.Target) (err error) {
	ctx, cancel := c.context()
	defer cancel()
	var v *view
	fixed := t != replica.Target{}
	if fixed {
		v, err = c.source.at(ctx, t)
	} else {
		v, err = c.source.newest(ctx, c.interval)
	}
	if err == nil {
		c.view, c.fixed = v, fixed
	}
	return err
}

// Lock begins a read transaction, which sees the newest state.
func (c *conn) Lock(lock vfs.LockLevel) error {
	if lock > vfs.LOCK_SHARED {
		return sqlite3.READONLY
	}
	if c.lock == vfs.LOCK_NONE && !c.fixed {
		ctx, cancel := c.context()
		defer cancel()
		v, err := c.source.newest(ctx, c.interval)
		if err != nil {
			return c.failed("begin a transaction", err, sqlite3.IOERR_LOCK)
		}
		c.view = v
	}
	c.lock = lock
	return nil
}

// Unlock ends a transaction. The first transaction has read its rows by now, so the index
// that makes later transactions fast can be loaded.
func (c *conn) Unlock(lock vfs.LockLevel) error {
	c.lock = lock
	c.source.loadIndex(c.view.base)
	return nil
}

// LockState implements [vfs.FileLockState].
func (c *conn) LockState() vfs.LockLevel { return c.lock }

// CheckReservedLock implements [vfs.File]: there are no writers.
func (c *conn) CheckReservedLock() (bool, error) { return false, nil }

// Size implements [vfs.File].
func (c *conn) Size() (int64, error) {
	return int64(c.view.commit) * int64(c.view.pageSize), nil
}

// ReadAt implements [vfs.File]. SQLite reads pages, and parts of page 1.
func (c *conn) ReadAt(b []byte, offset int64) (n int, err error) {
	for n < len(b) {
		size := int64(c.view.pageSize)
		index := (offset + int64(n)) / size
		if index >= int64(c.view.commit) {
			return n, io.EOF
		}
		page, err := c.readPage(uint32(index) + 1)
		if err != nil {
			return n, c.failed(fmt.Sprintf("read page %d", index+1), err, sqlite3.IOERR_READ)
		}
		n += copy(b[n:], page[offset+int64(n)-index*size:])
	}
	return n, nil
}

// readPage returns a page, which is valid until the next call.
func (c *conn) readPage(pgno uint32) ([]byte, error) {
	if len(c.page) != int(c.view.pageSize) {
		c.page = make([]byte, c.view.pageSize)
	}
	c.visit(pgno)
	if !c.source.pages.there(c.view, pgno, c.page) {
		ctx, cancel := c.context()
		defer cancel()
		if err := c.source.readPage(ctx, &c.view, pgno, c.page); err != nil {
			return nil, err
		}
	}
	c.pass(pgno)
	c.learn(pgno, c.page)
	if pgno == 1 {
		stamp(c.page, c.view)
	}
	return c.page, nil
}

// stamp changes page 1 so that SQLite reads the database without a WAL, and notices when
// its cache is from another TXID.
//
// https://sqlite.org/fileformat2.html#the_database_header
func stamp(page []byte, v *view) {
	page[18], page[19] = 1, 1
	if [4]byte(page[24:]) != [4]byte(page[92:]) { // SQLite does not trust the size in the header
		binary.BigEndian.PutUint32(page[28:], v.commit)
	}
	binary.BigEndian.PutUint32(page[24:], uint32(v.txid))
	binary.BigEndian.PutUint32(page[92:], uint32(v.txid))
}

// failed returns the error for SQLite. Most callers see only its code, so failed also
// logs the cause, and PRAGMA walvfs_error returns it.
func (c *conn) failed(what string, err error, code sqlite3.ExtendedErrorCode) error {
	if c.interrupt().Err() != nil {
		return sqlite3.INTERRUPT
	}
	c.source.log.Error("reading the replica failed", "txid", c.view.txid, "error", err)
	c.cause = fmt.Errorf("walvfs: %s of %s at TXID %s: %w", what, c.source.replica, c.view.txid, err)
	return vfs.SystemError(c.cause, code)
}

// Close implements [vfs.File].
func (c *conn) Close() error {
	c.source.pages.streams.Add(-1)
	names.leave(c.name)
	return c.source.release()
}

// WriteAt implements [vfs.File].
func (c *conn) WriteAt([]byte, int64) (int, error) { return 0, sqlite3.READONLY }

// Truncate implements [vfs.File].
func (c *conn) Truncate(int64) error { return sqlite3.READONLY }

// Sync implements [vfs.File].
func (c *conn) Sync(vfs.SyncFlag) error { return nil }

// SectorSize implements [vfs.File].
func (c *conn) SectorSize() int { return 0 }

// DeviceCharacteristics implements [vfs.File]. The file changes, so it is not immutable.
func (c *conn) DeviceCharacteristics() vfs.DeviceCharacteristic { return 0 }
