package main

import (
	"context"
	"errors"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"time"

	"github.com/ncruces/go-sqlite3"
)

// copyLive copies a database as of one read transaction, without a trace: it must neither
// checkpoint nor delete the log that another process uses.
func copyLive(ctx context.Context, live, to string) error {
	if _, err := os.Stat(live); err != nil {
		return err
	}
	// In WAL mode, an open database has a "-wal" file. Without that file, SQLite would
	// leave one behind, unless a parameter declares that no process writes.
	idle, before, err := atRest(live)
	if err != nil {
		return err
	}
	// The replicated VFS gives a "-shm" that SQLite creates the owner of the database;
	// otherwise it does nothing for a connection that only reads.
	uri := fileURI(live) + "?mode=ro&vfs=replicated"
	if idle {
		uri = fileURI(live) + "?mode=ro&immutable=1"
	}
	if err := backup(ctx, uri, to); err != nil {
		return err
	}
	if !idle {
		return nil
	}
	if still, after, err := atRest(live); err != nil || !still || after != before {
		return errors.Join(err, errors.New("the database was opened during the comparison; try again"))
	}
	return nil
}

// fileState shows whether a file was written: it then differs.
type fileState struct {
	size int64
	time time.Time
}

func atRest(path string) (idle bool, state fileState, err error) {
	_, err = os.Stat(path + "-wal")
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return false, state, err
	}
	idle = err != nil
	fi, err := os.Stat(path)
	if err != nil {
		return false, state, err
	}
	return idle, fileState{fi.Size(), fi.ModTime()}, nil
}

func backup(ctx context.Context, from, to string) error {
	db, err := sqlite3.OpenContext(ctx, from)
	if err != nil {
		return err
	}
	defer db.Close()
	db.SetInterrupt(ctx)
	// The last connection to close would checkpoint, and delete the log.
	if _, err := db.Config(sqlite3.DBCONFIG_NO_CKPT_ON_CLOSE, true); err != nil {
		return err
	}
	if err := db.BusyTimeout(10 * time.Second); err != nil {
		return err
	}
	if err := db.Exec(`BEGIN; SELECT 1 FROM sqlite_schema`); err != nil {
		return err
	}
	return db.Backup("main", fileURI(to))
}

// fileURI returns a path as a URI to which parameters can be appended.
func fileURI(path string) string {
	return "file:" + (&url.URL{Path: filepath.ToSlash(path)}).EscapedPath()
}
