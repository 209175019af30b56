package wal

import (
	"os"

	"github.com/ncruces/go-sqlite3"
)

// A Database is what a read mark needs of its database.
type Database interface {
	// OpenIndex opens the WAL index once more: locks belong to an open file.
	OpenIndex() (*os.File, error)

	// Repair has SQLite mend the WAL index.
	Repair() error

	// Connect opens a connection, where a mark is a transaction of SQLite's.
	Connect() (*sqlite3.Conn, error)
}
