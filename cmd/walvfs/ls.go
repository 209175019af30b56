package main

import (
	"errors"
	"fmt"
	"net/url"
	"text/tabwriter"
	"time"

	"github.com/dustin/go-humanize"

	"github.com/walvfs/walvfs/format"
	"github.com/walvfs/walvfs/shipper/replica"
	"github.com/walvfs/walvfs/shipper/storage"
)

type lsCmd struct {
	replicaArg
	JSON bool `name:"json" help:"Print a JSON array of objects."`
}

// Help is shown below the synopsis.
func (*lsCmd) Help() string {
	return `Level 0 has one file for each upload, levels 1 to 8 have compacted files, and level 9 has snapshots: whole databases. The last TXID of a file can be restored if a snapshot and files that follow each other lead to it.

If the URL itself has no replica, ls lists the replicas below it, including those of Litestream before 0.5. That takes one request for each replica, and one for each thousand objects that belong to none.

Examples:

	walvfs ls s3://bucket/app
	walvfs ls s3://bucket
	walvfs ls --json file:///backup/app | jq '.[-1].max_txid'`
}

// Validate finds mistakes before the command does anything.
func (c *lsCmd) Validate() error { return c.check() }

func (c *lsCmd) Run(a *app) error {
	store, _, err := c.open(a)
	if err != nil {
		return err
	}
	defer store.Close()
	r := replica.New(store, replica.Options{})
	files, err := r.Files(a.ctx)
	if errors.Is(err, replica.ErrNone) {
		if found, e := c.below(a, store); found || e != nil {
			return e
		}
	}
	if err != nil {
		return err
	}
	if c.JSON {
		return a.printJSON(listed(r, files))
	}
	return printTable(a, files)
}

// below lists the replicas below a URL that is not a replica itself.
func (c *lsCmd) below(a *app, store storage.Store) (found bool, err error) {
	all := []belowReplica{}
	for path, err := range replica.Below(a.ctx, store, 0) {
		if err != nil {
			return false, err
		}
		b := belowReplica{store.String() + "/" + (&url.URL{Path: path}).EscapedPath()}
		if all = append(all, b); !c.JSON {
			if _, err := fmt.Fprintln(a.stdout, b.Replica); err != nil {
				return true, err
			}
		}
	}
	if c.JSON && len(all) > 0 {
		return true, a.printJSON(all)
	}
	return len(all) > 0, nil
}

// belowReplica is the output of ls --json for a replica.
type belowReplica struct {
	Replica string `json:"replica"` // URL
}

// listedFile is the output of ls for a file.
type listedFile struct {
	Level   int         `json:"level"`
	MinTXID format.TXID `json:"min_txid"`
	MaxTXID format.TXID `json:"max_txid"`
	Size    int64       `json:"size"`
	Written time.Time   `json:"written,omitzero"` // according to the store
	Key     string      `json:"key"`
}

func listed(r *replica.Replica, files replica.Files) []listedFile {
	all := make([]listedFile, len(files))
	for i, f := range files {
		all[i] = listedFile{f.Level, f.MinTXID, f.MaxTXID, f.Size, f.Written.UTC(), r.Key(f.FileInfo)}
	}
	return all
}

func printTable(a *app, files replica.Files) error {
	w := tabwriter.NewWriter(a.stdout, 0, 8, 2, ' ', 0)
	var err error
	line := func(format string, args ...any) {
		_, e := fmt.Fprintf(w, format, args...)
		err = errors.Join(err, e)
	}
	line("LEVEL\tMIN TXID\tMAX TXID\tSIZE\tWRITTEN\n")
	for _, f := range files {
		line("%d\t%s\t%s\t%s\t%s\n", f.Level, f.MinTXID, f.MaxTXID, humanize.IBytes(uint64(f.Size)), f.Written.UTC().Format(time.RFC3339))
	}
	return errors.Join(err, w.Flush())
}
