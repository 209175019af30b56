//go:build vfs

// Command litestream reads a replica with the VFS of Litestream, for the benchmark of reading.
// Its argument is the replica's URL.
//
//	go build -tags vfs .
package main

import (
	"context"
	"database/sql"
	"fmt"
	"log/slog"
	"os"
	"time"

	"github.com/benbjohnson/litestream"
	_ "github.com/benbjohnson/litestream/s3"
	_ "github.com/mattn/go-sqlite3"
	"github.com/psanford/sqlite3vfs"

	"github.com/walvfs/walvfs/bench/readers"
)

func main() {
	p := readers.Program{
		Open: open,
		Move: func(at time.Time) string {
			return "PRAGMA litestream_time = '" + at.UTC().Format(time.RFC3339Nano) + "'"
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
	if err == nil {
		err = sqlite3vfs.RegisterVFS("litestream", litestream.NewVFS(client, slog.New(slog.DiscardHandler)))
	}
	if err != nil {
		return nil, err
	}
	return sql.Open("sqlite3", "file:reading.db?vfs=litestream")
}
