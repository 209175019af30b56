//go:build !linux

package wal

import (
	"errors"

	"github.com/ncruces/go-sqlite3"
)

// A Mark is a read transaction of the WAL. On this system, it is SQLite's own.
type Mark struct {
	conn *sqlite3.Conn
}

// NewMark returns a mark that is not held.
func NewMark(db Database) (*Mark, error) {
	conn, err := db.Connect()
	if err != nil {
		return nil, err
	}
	if _, err := conn.Config(sqlite3.DBCONFIG_NO_CKPT_ON_CLOSE, true); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return &Mark{conn}, nil
}

// Begin begins the transaction: BEGIN is deferred, so that it does not take the
// application's write lock, and the statement after it takes the read mark.
func (m *Mark) Begin() error {
	if err := m.conn.Exec("BEGIN DEFERRED; PRAGMA schema_version"); err != nil {
		return errors.Join(err, m.End())
	}
	return nil
}

// End ends the transaction.
func (m *Mark) End() error {
	if m.conn.GetAutocommit() {
		return nil
	}
	return m.conn.Exec("ROLLBACK")
}

// Close releases the mark for good.
func (m *Mark) Close() error { return m.conn.Close() }
