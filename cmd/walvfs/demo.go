package main

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/dustin/go-humanize"
	_ "github.com/ncruces/go-sqlite3/driver"

	"github.com/walvfs/walvfs/format"
	"github.com/walvfs/walvfs/shipper"
	"github.com/walvfs/walvfs/shipper/replica"
	"github.com/walvfs/walvfs/shipper/restore"
	"github.com/walvfs/walvfs/shipper/storage"
	"github.com/walvfs/walvfs/vfs"
)

type demoCmd struct {
	Keep bool `help:"Leave the directory, to look around in it."`
}

// Help is shown below the synopsis.
func (*demoCmd) Help() string {
	return `It needs no account and no server: in a temporary directory, it opens a database with a file:// replica, writes the names of all Unicode characters from several connections, changes many of them, deletes thousands and brings those back from the replica. Then it deletes the database, restores it from the replica, and compares every page. It takes a few seconds. The exit status is 0 only if all rows are back, and if the restored database equals the lost one.`
}

func (c *demoCmd) Run(a *app) error {
	dir, err := os.MkdirTemp("", "walvfs-demo-")
	if err != nil {
		return err
	}
	if !c.Keep {
		defer os.RemoveAll(dir)
	}
	d := &demo{
		app:     a,
		path:    filepath.Join(dir, "app.db"),
		replica: (&url.URL{Scheme: "file", Path: filepath.ToSlash(filepath.Join(dir, "replica"))}).String(),
	}
	return d.run()
}

// demo is one run of the demonstration.
type demo struct {
	*app
	path    string
	replica string

	mu      sync.Mutex
	shipped []shipper.Uploaded
}

func (d *demo) run() error {
	d.say("in %s\n", filepath.Dir(d.path))
	lost, err := d.live()
	if err != nil {
		return err
	}
	if err := d.lose(); err != nil {
		return err
	}
	store, err := storage.Open(d.ctx, d.replica, storage.Options{})
	if err != nil {
		return err
	}
	defer store.Close()
	if err := d.restore(store); err != nil {
		return err
	}
	if err := d.compare(lost); err != nil {
		return err
	}
	return d.list(store)
}

// step prints the current step as a log line.
func (d *demo) step(name, format string, args ...any) {
	d.say("%-9s "+format+"\n", append([]any{name}, args...)...)
}

func (d *demo) say(format string, args ...any) { fmt.Fprintf(d.stdout, format, args...) }

// live runs the life of the database, and returns the content of its file at the end.
func (d *demo) live() ([]byte, error) {
	const name = "replicated-demo"
	vfs.Register(name, vfs.Options{Events: d.observe})
	uri := "file:" + d.path + "?vfs=" + name + "&interval=100ms&_pragma=synchronous(normal)&_pragma=busy_timeout(10000)&replica=" + url.QueryEscape(d.replica)
	d.step("open", "app.db?vfs=replicated&replica=%s", d.replica)
	db, err := sql.Open("sqlite3", uri)
	if err != nil {
		return nil, err
	}
	defer db.Close()
	if err := d.write(db); err != nil {
		return nil, err
	}
	if err := d.wait(); err != nil {
		return nil, err
	}
	if err := db.Close(); err != nil {
		return nil, err
	}
	return os.ReadFile(d.path)
}

func (d *demo) observe(_ string, e shipper.Event) {
	if s, ok := e.(shipper.Uploaded); ok && s.Level == format.LevelRaw {
		d.mu.Lock()
		defer d.mu.Unlock()
		d.shipped = append(d.shipped, s)
	}
}

// wait waits for the replica, as an application can, and prints how far behind it was.
func (d *demo) wait() error {
	start := time.Now()
	ctx, cancel := context.WithTimeout(d.ctx, time.Minute)
	defer cancel()
	replicated, err := vfs.Lookup(d.path)
	if err != nil {
		return err
	}
	if err := replicated.Flush(ctx); err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	lags := make([]time.Duration, len(d.shipped))
	var sent int64
	for i, s := range d.shipped {
		lags[i] = s.Lag
		sent += s.Bytes
	}
	slices.Sort(lags)
	d.step("ship", "%d uploads, %s; commit to replica: %s median, %s at most; the last one waited %s",
		len(lags), humanize.IBytes(uint64(sent)), round(lags[len(lags)/2]), round(lags[len(lags)-1]), round(time.Since(start)))
	return nil
}

func round(t time.Duration) time.Duration { return t.Round(100 * time.Microsecond) }

// lose deletes all files of the database.
func (d *demo) lose() error {
	files, err := filepath.Glob(d.path + "*")
	if err != nil {
		return err
	}
	for _, f := range files {
		if err := os.Remove(f); err != nil {
			return err
		}
	}
	d.step("lose", "deleted the database, only the replica is left")
	return nil
}

func (d *demo) restore(store storage.Store) error {
	r, err := restore.Restore(d.ctx, store, d.path, restore.Options{})
	if err != nil {
		return err
	}
	d.step("restore", "TXID %s: %s pages from %d files in %s", r.TXID, humanize.Comma(int64(r.Pages)), r.Files, round(r.Duration))
	return nil
}

// compare proves that the restored database equals the lost one.
func (d *demo) compare(lost []byte) error {
	got, err := os.ReadFile(d.path)
	if err != nil {
		return err
	}
	if !bytes.Equal(got, lost) {
		return errors.New("the restored database differs from the lost one")
	}
	db, err := sql.Open("sqlite3", "file:"+d.path+"?mode=ro")
	if err != nil {
		return err
	}
	defer db.Close()
	var check string
	var rows int64
	err = errors.Join(
		db.QueryRowContext(d.ctx, "PRAGMA integrity_check").Scan(&check),
		db.QueryRowContext(d.ctx, "SELECT count(*) FROM character").Scan(&rows),
	)
	if err != nil {
		return err
	}
	if check != "ok" {
		return fmt.Errorf("integrity_check of the restored database: %s", check)
	}
	d.step("compare", "equal, page for page; integrity_check ok; %s rows", humanize.Comma(rows))
	return nil
}

// list shows the first and last files of the replica.
func (d *demo) list(store storage.Store) error {
	files, err := replica.New(store, replica.Options{}).Files(d.ctx)
	if err != nil {
		return err
	}
	d.step("list", "%d files in the replica", len(files))
	const ends = 4
	if len(files) > 2*ends {
		if err := printTable(d.app, files[:ends]); err != nil {
			return err
		}
		d.say("…\n")
		files = files[len(files)-ends:]
	}
	return printTable(d.app, files)
}
