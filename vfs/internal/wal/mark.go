package wal

import (
	"os"

	"github.com/ncruces/go-sqlite3"
)

// A Database gives a read mark access to its database.
type Database interface {
	// OpenIndex opens the WAL index once more: locks belong to an open file.
	OpenIndex() (*os.File, error)

	// Repair makes SQLite repair the WAL index.
	Repair() error

	// Connect opens a connection, for systems where a mark is a transaction of SQLite's.
	Connect() (*sqlite3.Conn, error)
}
