//go:build !linux

package vfs

import (
	"errors"

	"github.com/ncruces/go-sqlite3"
)

// A readMark is a read transaction of the WAL. Here, it is SQLite's own.
type readMark struct {
	conn *sqlite3.Conn
}

func (d *database) newMark() (*readMark, error) {
	conn, err := d.openInternal()
	if err != nil {
		return nil, err
	}
	if _, err := conn.Config(sqlite3.DBCONFIG_NO_CKPT_ON_CLOSE, true); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return &readMark{conn}, nil
}

// begin begins the transaction: BEGIN is deferred, so that nothing takes the
// application's write lock, and the statement after it takes the read mark.
func (m *readMark) begin() error {
	if err := m.conn.Exec("BEGIN DEFERRED; PRAGMA schema_version"); err != nil {
		return errors.Join(err, m.end())
	}
	return nil
}

// end ends the transaction.
func (m *readMark) end() error {
	if m.conn.GetAutocommit() {
		return nil
	}
	return m.conn.Exec("ROLLBACK")
}

func (m *readMark) close() error { return m.conn.Close() }
