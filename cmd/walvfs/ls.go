package main

import (
	"errors"
	"fmt"
	"text/tabwriter"
	"time"

	"github.com/dustin/go-humanize"

	"github.com/walvfs/walvfs/format"
	"github.com/walvfs/walvfs/shipper/restore"
	"github.com/walvfs/walvfs/shipper/storage"
)

type lsCmd struct {
	replicaArg
	JSON bool `name:"json" help:"Print a JSON array of objects."`
}

// Help is shown below the synopsis.
func (*lsCmd) Help() string {
	return `Level 0 has a file for each transaction, levels 1 to 8 have compacted ones, and level 9 has snapshots: whole databases. A file's last TXID can be restored if a snapshot and files that follow each other lead to it.

Examples:

	walvfs ls s3://bucket/app
	walvfs ls --json file:///backup/app | jq '.[-1].max_txid'`
}

// Validate finds mistakes before anything is done.
func (c *lsCmd) Validate() error { return c.check() }

func (c *lsCmd) Run(a *app) error {
	store, _, err := c.open(a)
	if err != nil {
		return err
	}
	defer store.Close()
	files, err := listed(a, store)
	if err != nil {
		return err
	}
	if c.JSON {
		return a.printJSON(files)
	}
	return printTable(a, files)
}

// listedFile is what ls prints of a file.
type listedFile struct {
	Level   int         `json:"level"`
	MinTXID format.TXID `json:"min_txid"`
	MaxTXID format.TXID `json:"max_txid"`
	Size    int64       `json:"size"`
	Written time.Time   `json:"written,omitzero"` // as the store says
	Key     string      `json:"key"`
}

// listed lists a replica level by level.
func listed(a *app, store storage.Store) ([]listedFile, error) {
	files := []listedFile{}
	layout := store.Layout()
	for level := format.LevelRaw; level <= format.LevelSnapshot; level++ {
		for o, err := range store.List(a.ctx, layout.Dir(level), "") {
			if err != nil {
				return nil, err
			}
			f, ok := layout.Parse(o.Key)
			if !ok {
				continue
			}
			files = append(files, listedFile{level, f.MinTXID, f.MaxTXID, o.Size, o.ModTime.UTC(), o.Key})
		}
	}
	if len(files) == 0 {
		return files, noReplica(store)
	}
	return files, nil
}

// noReplica is the error for a replica without files.
func noReplica(store storage.Store) error {
	return &restore.Error{Op: "list", Name: store.String(), Err: restore.ErrNoReplica, Hint: "check the path of the URL"}
}

func printTable(a *app, files []listedFile) error {
	w := tabwriter.NewWriter(a.stdout, 0, 8, 2, ' ', 0)
	var err error
	line := func(format string, args ...any) {
		_, e := fmt.Fprintf(w, format, args...)
		err = errors.Join(err, e)
	}
	line("LEVEL\tMIN TXID\tMAX TXID\tSIZE\tWRITTEN\n")
	for _, f := range files {
		line("%d\t%s\t%s\t%s\t%s\n", f.Level, f.MinTXID, f.MaxTXID, humanize.IBytes(uint64(f.Size)), f.Written.Format(time.RFC3339))
	}
	return errors.Join(err, w.Flush())
}
