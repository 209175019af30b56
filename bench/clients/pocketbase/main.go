// Pocketbase shows PocketBase with a replicated database. Build it without PocketBase's own
// SQLite, which walvfs cannot replicate:
//
//	go build -tags no_default_driver
//
// It replicates data.db, which has the collections, records, users and settings. It does not
// replicate auxiliary.db, which has only the log of requests: each batch of the log would be
// an upload, and PocketBase creates the file if it is missing. Uploaded files are in no
// database; PocketBase can store them in S3.
//
// One process at a time can open the database: stop the service before you run the command
// superuser.
package main

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"log"
	"net/url"
	"os"
	"path/filepath"
	"time"

	_ "github.com/ncruces/go-sqlite3/driver"
	"github.com/pocketbase/dbx"
	"github.com/pocketbase/pocketbase"
	"github.com/pocketbase/pocketbase/core"

	_ "github.com/walvfs/walvfs/shipper/storage/file" // s3:// needs shipper/storage/s3
	"github.com/walvfs/walvfs/vfs"
)

// pragmas are those of PocketBase's own DBConnect. journal_mode(WAL) is what walvfs sets,
// too, and journal_size_limit does not matter to it.
const pragmas = "&_pragma=busy_timeout(10000)&_pragma=journal_mode(WAL)&_pragma=journal_size_limit(200000000)" +
	"&_pragma=synchronous(NORMAL)&_pragma=foreign_keys(ON)&_pragma=temp_store(MEMORY)&_pragma=cache_size(-32000)"

// envDiverged is how a backup's restore tells the process that replaces this one.
const envDiverged = "WALVFS_EXAMPLE_DIVERGED"

func main() {
	r := replication{
		replica:  cmp.Or(os.Getenv("REPLICA"), "file:///var/tmp/walvfs/pocketbase"),
		diverged: cmp.Or(os.Getenv(envDiverged), "halt"),
	}
	os.Unsetenv(envDiverged) // it holds for one start
	if err := r.app().Start(); err != nil {
		log.Fatal(err)
	}
}

// replication is what the hooks of one app share.
type replication struct {
	replica  string // URL
	diverged string // the parameter
	keep     *sql.DB
}

func (r *replication) app() *pocketbase.PocketBase {
	app := pocketbase.NewWithConfig(pocketbase.Config{DBConnect: r.connect})
	app.OnTerminate().BindFunc(r.terminate)
	app.OnBackupRestore().BindFunc(r.restoreBackup)
	return app
}

// connect opens a pool. PocketBase has two for each database.
func (r *replication) connect(path string) (*dbx.DB, error) {
	uri := "file:" + (&url.URL{Path: filepath.ToSlash(path)}).EscapedPath() + "?"
	if filepath.Base(path) != "data.db" {
		return dbx.Open("sqlite3", uri+pragmas)
	}
	uri += "vfs=replicated&restore=if-missing&diverged=" + r.diverged + "&replica=" + url.QueryEscape(r.replica) + pragmas
	if err := r.keepOpen(uri); err != nil {
		return nil, err
	}
	return dbx.Open("sqlite3", uri)
}

// keepOpen holds a connection of its own. PocketBase closes its connections when they were
// idle for 3 minutes. The last one's close waits for the replica, 10 s at most; if the store
// is away for longer, the replica would lack the last commits until the next request.
func (r *replication) keepOpen(uri string) (err error) {
	if r.keep != nil {
		return nil
	}
	if r.keep, err = sql.Open("sqlite3", uri); err != nil {
		return err
	}
	return r.keep.Ping() // the pool keeps the connection
}

// terminate runs when the server has stopped. Before a restart, nothing runs after e.Next.
func (r *replication) terminate(e *core.TerminateEvent) error {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	err := vfs.Shutdown(ctx)
	if r.keep != nil {
		err = errors.Join(err, r.keep.Close())
		r.keep = nil
	}
	return errors.Join(err, e.Next())
}

// restoreBackup surrounds PocketBase's restore of one of its backups, which replaces data.db
// by an older one and executes the program again. The replica has what came after the
// backup, and replication would halt: the new process is told to overwrite it. The
// backup's content becomes the replica's next transaction, and what came before can still
// be restored. This process logs that its file was replaced while it was open, which is
// so. If it dies before the new one starts, replication halts there, and the log says so.
func (r *replication) restoreBackup(e *core.BackupEvent) error {
	if err := os.Setenv(envDiverged, "overwrite"); err != nil {
		return err
	}
	defer os.Unsetenv(envDiverged) // the restore has failed
	return e.Next()
}
