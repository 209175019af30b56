// Goose shows migrations with goose before a service starts: each run migrates, takes an
// order and prints how many there are.
package main

import (
	"cmp"
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"log"
	"net/url"
	"os"
	"time"

	_ "github.com/ncruces/go-sqlite3/driver"
	"github.com/pressly/goose/v3"

	_ "github.com/walvfs/walvfs/shipper/storage/file" // s3:// needs shipper/storage/s3
	"github.com/walvfs/walvfs/vfs"
)

//go:embed migrations/*.sql
var files embed.FS

func main() {
	replica := cmp.Or(os.Getenv("REPLICA"), "file:///var/tmp/walvfs/goose")
	if err := run(context.Background(), url.QueryEscape(replica)); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, replica string) (err error) {
	// restore=if-missing comes first, when the file is opened, so goose finds the version of
	// the replica on a new machine. Without it, goose would begin a new history there.
	uri := "file:goose.db?vfs=replicated&restore=if-missing&replica=" + replica
	db, err := sql.Open("sqlite3", uri)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	// With this connection open, the migrations' is not the last to close.
	if err := db.PingContext(ctx); err != nil {
		return err
	}
	if err := migrate(ctx, uri); err != nil {
		return err
	}

	// Here the service would start.
	if _, err := db.ExecContext(ctx, "INSERT INTO orders (item, cents) VALUES ('milk', 120)"); err != nil {
		return err
	}
	var count, cents int
	if err := db.QueryRowContext(ctx, "SELECT count(*), sum(cents) FROM orders").Scan(&count, &cents); err != nil {
		return err
	}
	fmt.Println(count, "orders,", cents, "cents")
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	return vfs.Shutdown(ctx)
}

// migrate brings the schema up to date. Goose runs each file in a transaction. With
// durability=sync, the replica has each before the next one begins, so the states before
// and after each can be restored. Without it, one upload may hold several.
//
// A migration cannot change the journal mode: PRAGMA journal_mode=delete fails.
func migrate(ctx context.Context, uri string) (err error) {
	db, err := sql.Open("sqlite3", uri+"&durability=sync&sync_timeout=1m")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	migrations, err := fs.Sub(files, "migrations")
	if err != nil {
		return err
	}
	provider, err := goose.NewProvider(goose.DialectSQLite3, db, migrations)
	if err != nil {
		return err
	}
	results, err := provider.Up(ctx)
	for _, r := range results {
		fmt.Println("migrated to", r.Source.Version)
	}
	return err
}
