package main

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/ncruces/go-sqlite3"

	"github.com/walvfs/walvfs/format"
	"github.com/walvfs/walvfs/shipper"
	"github.com/walvfs/walvfs/shipper/storage/storagetest"
)

// Failures that TestTorture has found, each as short as possible.

// TestTortureEqualSalts: the first transaction after a checkpoint spills and is rolled
// back, and the next transaction writes the WAL's header again, with equal salts. Then
// the process is killed. Nothing is lost, and replication resumes.
func TestTortureEqualSalts(t *testing.T) {
	f := newFound(t)
	f.runKilled(t,
		"CREATE TABLE t (x); INSERT INTO t SELECT randomblob(900) FROM generate_series(1, 100)",
		"drain",
		"PRAGMA wal_autocheckpoint=0; PRAGMA cache_size=5; PRAGMA wal_checkpoint(RESTART)",
		"BEGIN; UPDATE t SET x = randomblob(900); ROLLBACK",
		"INSERT INTO t VALUES ('committed')",
	)
	if err := f.ship(t); err != nil {
		t.Fatal(err)
	}
}

// TestTortureDiskLost: the disk has lost a commit that the replica has, which halts
// replication. It stays halted when the application starts again, whatever was written to
// the WAL meanwhile.
func TestTortureDiskLost(t *testing.T) {
	for name, between := range map[string][]string{
		"closed": nil,
		"killed": {"INSERT INTO t VALUES ('other'); PRAGMA wal_checkpoint(RESTART); INSERT INTO t VALUES ('other')"},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFound(t)
			f.runKilled(t,
				"CREATE TABLE t (x); INSERT INTO t SELECT randomblob(900) FROM generate_series(1, 100)",
				"drain",
				"INSERT INTO t VALUES ('lost')",
				"drain",
			)
			f.loseFrames(t)
			if between != nil {
				f.runKilled(t, between...)
			} else if err := f.ship(t); !errors.Is(err, shipper.ErrDiverged) {
				t.Fatalf("the disk has lost a commit: %v", err)
			}
			if err := f.ship(t); !errors.Is(err, shipper.ErrDiverged) {
				t.Errorf("started again, with diverged=halt, it ships: %v", err)
			}
		})
	}
}

// found is a database in a state that TestTorture has found.
type found struct {
	path, uri string
}

func newFound(t *testing.T) found {
	path := filepath.Join(t.TempDir(), "bank.db")
	return found{path, fmt.Sprintf("file:%s?vfs=replicated&interval=1h&replica=%s", path, url.QueryEscape(storagetest.File(t).URL))}
}

// runKilled runs statements in a process that is killed after the last one.
func (f found) runKilled(t *testing.T, statements ...string) {
	t.Helper()
	p := startChild(t, order{Task: script, Path: f.path, URI: f.uri, Script: statements, Slow: slowStatement}, nil, killing{"done", 1, 0})
	p.wait()
	if len(p.bad) > 0 || p.said["done"] == 0 {
		t.Fatalf("%q\n%s", p.bad, &p.log)
	}
}

// ship opens the database, waits for the replica, and closes it.
func (f found) ship(t *testing.T) error {
	t.Helper()
	conn, err := sqlite3.Open(f.uri)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.Exec("INSERT INTO t VALUES ('here')"); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	return flush(ctx, f.path)
}

// loseFrames removes the last commit from the WAL.
func (f found) loseFrames(t *testing.T) {
	t.Helper()
	wal, err := os.OpenFile(f.path+"-wal", os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer wal.Close()
	header, last, _, err := format.LastCommit(wal)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(wal.Truncate(format.FrameOffset(header.PageSize, last)), os.Remove(f.path+"-shm")); err != nil {
		t.Fatal(err)
	}
}

// script runs the statements of its order and waits to be killed.
func (c *child) script() {
	conn, err := c.open(nil)
	if err != nil {
		return
	}
	for _, sql := range c.Script {
		if sql == "drain" {
			err = flush(context.Background(), c.Path)
		} else {
			err = conn.Exec(sql)
		}
		if err != nil {
			c.bad("%s: %v", sql, err)
			return
		}
	}
	c.say("done")
	select {}
}
