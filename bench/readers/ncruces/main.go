// Command ncruces reads a replica with the VFS of github.com/ncruces/litestream, for the benchmark
// of reading. Its argument is the replica's URL.
package main

import (
	"context"
	"database/sql"
	"fmt"
	"log/slog"
	"os"
	"time"

	_ "github.com/ncruces/go-sqlite3/driver"
	_ "github.com/ncruces/go-sqlite3/embed"
	"github.com/ncruces/litestream"
	_ "github.com/ncruces/litestream/s3"

	"github.com/walvfs/walvfs/bench/readers"
)

func main() {
	p := readers.Program{
		Open: open,
		Move: func(at time.Time) string {
			return "PRAGMA litestream_time = '" + at.UTC().Format("2006-01-02T15:04:05.000Z") + "'"
		},
	}
	if err := p.Serve(os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func open() (*sql.DB, error) {
	client, err := litestream.NewReplicaClientFromURL(os.Args[1])
	if err == nil {
		err = client.Init(context.Background())
	}
	if err != nil {
		return nil, err
	}
	litestream.CreateVFSReadReplica("reading.db", client, litestream.VFSOptions{Logger: slog.New(slog.NewTextHandler(os.Stderr, nil))})
	return sql.Open("sqlite3", "file:reading.db?vfs=litestream")
}
