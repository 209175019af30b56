package compare

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
	"github.com/ncruces/go-sqlite3"

	"github.com/walvfs/walvfs/vfs"
)

// application is a program with databases. It works with the first database.
type application struct {
	spec
	dbs []*sql.DB

	number    atomic.Int64 // of transactions begun
	uploading atomic.Bool  // the replica does not yet have all content from before the work
	reads     atomic.Int64
	mu        sync.Mutex
	latency   *hdrhistogram.Histogram
	committed []int64
}

// openApplication opens and fills the databases, and returns when walvfs's replicas have
// everything, except for a database that has its size before.
func openApplication(s spec) (*application, error) {
	a := &application{spec: s, latency: newHistogram()}
	if err := a.open(); err != nil || s.Workload.Size > 0 {
		return a, err
	}
	for _, db := range a.dbs {
		for _, statement := range []string{schema, s.Workload.Setup} {
			if _, err := db.Exec(statement); err != nil {
				return nil, fmt.Errorf("%s: %w", s.Workload.Name, err)
			}
		}
	}
	if err := a.drain(2 * time.Minute); err != nil || !s.Workload.Reopen {
		return a, err
	}
	return a, errors.Join(a.close(), a.open())
}

func (a *application) open() error {
	for i, replica := range a.Replicas {
		path := databasePath(a.Dir, i)
		db, err := sql.Open("sqlite3", a.Peer.uri(path, replica, "synchronous("+a.Workload.Synchronous+")"))
		if err != nil {
			return err
		}
		db.SetMaxIdleConns(max(1, a.Workload.Connections))
		a.dbs = append(a.dbs, db)
		if err := db.Ping(); err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
	}
	return nil
}

// drain waits until walvfs's replicas have everything.
func (a *application) drain(timeout time.Duration) error {
	if !a.Peer.InProcess {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	for i := range a.dbs {
		db, err := vfs.Lookup(databasePath(a.Dir, i))
		if err == nil {
			err = db.Flush(ctx)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// close closes the databases, which waits for walvfs's replicas.
func (a *application) close() error {
	var errs []error
	for _, db := range a.dbs {
		errs = append(errs, db.Close())
	}
	a.dbs = nil
	return errors.Join(errs...)
}

// fillHere makes a database of a size that has no replica yet, of which a half can be
// compressed.
func fillHere(s spec) (err error) {
	conn, err := sqlite3.Open("file:" + databasePath(s.Dir, 0))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, conn.Close()) }()
	if err := conn.Exec("PRAGMA journal_mode=wal; PRAGMA synchronous=off; " + schema); err != nil {
		return err
	}
	const rows, row = 5000, 4000
	for size := int64(0); size < s.Workload.Size; size += rows * row {
		err := conn.Exec(fmt.Sprintf("INSERT INTO t (x) SELECT randomblob(%d) || zeroblob(%[1]d) FROM generate_series(1, %[2]d)", row/2, rows))
		if err != nil {
			return err
		}
	}
	return nil
}
