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

// conn is a connection's file: the database at the TXID that it is at.
type conn struct {
	source   *source
	name     string
	interval time.Duration
	lock     vfs.LockLevel
	view     *view // does not change while the lock is held, but for the files that it reads
	fixed    bool  // stays at its TXID
	page     []byte
	cause    error                                       // of the last read that failed, nil if none did
	stream   stream                                      // how it goes through the database
	seen     format.TXID                                 // that the stream is of
	db       interface{ GetInterrupt() context.Context } // nil until it is open
}

var (
	_ vfs.File          = (*conn)(nil)
	_ vfs.FileLockState = (*conn)(nil)
)

// SetDB implements an interface that package vfs does not export.
func (c *conn) SetDB(db any) { c.db, _ = db.(interface{ GetInterrupt() context.Context }) }

// interrupt is done when the connection's statement is interrupted.
func (c *conn) interrupt() context.Context {
	if c.db != nil {
		if ctx := c.db.GetInterrupt(); ctx != nil {
			return ctx
		}
	}
	return context.Background()
}

// context bounds one wait of SQLite's.
func (c *conn) context() (context.Context, context.CancelFunc) {
	return c.source.context(c.interrupt())
}

// move has the connection see another moment, from now on.
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

// Lock begins a read transaction, which sees the state that is the newest now.
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

// Unlock ends a transaction. The first one has had its rows by now, and what makes later
// ones fast can be loaded.
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

// readPage returns a page, until the next call.
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

// stamp makes page 1 one that SQLite can read without a WAL, and by which it notices that
// what it has cached is of another TXID.
//
// https://sqlite.org/fileformat2.html#the_database_header
func stamp(page []byte, v *view) {
	page[18], page[19] = 1, 1
	if [4]byte(page[24:]) != [4]byte(page[92:]) { // the size is not to be trusted
		binary.BigEndian.PutUint32(page[28:], v.commit)
	}
	binary.BigEndian.PutUint32(page[24:], uint32(v.txid))
	binary.BigEndian.PutUint32(page[92:], uint32(v.txid))
}

// failed is the error that SQLite gets. Most callers see its code alone, so that the
// cause is also logged, and PRAGMA walvfs_error returns it.
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

// DeviceCharacteristics implements [vfs.File]. The file changes, so that it is not
// immutable.
func (c *conn) DeviceCharacteristics() vfs.DeviceCharacteristic { return 0 }
