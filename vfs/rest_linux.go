package vfs

import (
	"errors"

	"github.com/ncruces/go-sqlite3"

	"github.com/walvfs/walvfs/vfs/internal/wal"
)

// rest closes the internal connection, which takes far more memory than the rest of a
// database's replication. Its files stay open: the lock on the database file keeps other
// connections from being the last to close, and the lock on the WAL index keeps the next
// connections from creating a new index.
//
// https://sqlite.org/lockingv3.html#locking, and UNIX_SHM_DMS in os_unix.c
func (d *database) rest() error {
	if d.wal == nil {
		return nil // SQLite has not opened the WAL
	}
	if err := wal.LockDeadMan(d.shm); err != nil {
		return err
	}
	if _, err := d.conn.Config(sqlite3.DBCONFIG_NO_CKPT_ON_CLOSE, true); err != nil {
		return err
	}
	d.resting = true
	err := d.conn.Close()
	d.conn = nil
	return err
}

// closeFiles closes the files that a connection has left.
func (d *database) closeFiles() error {
	err := d.main.Close()
	if d.wal != nil {
		err = errors.Join(err, d.wal.Close())
	}
	return err
}
