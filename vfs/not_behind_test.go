package vfs_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"strings"
	"testing"

	"github.com/ncruces/go-sqlite3"

	"github.com/walvfs/walvfs/format"
	"github.com/walvfs/walvfs/internal/statefile"
	"github.com/walvfs/walvfs/shipper"
	"github.com/walvfs/walvfs/shipper/restore"
	"github.com/walvfs/walvfs/shipper/storage/storagetest"
)

// notBehind are histories of databases that are not behind, with their newest rows.
var notBehind = []struct {
	name, newest string
	diverged     bool
	do           func(r *run)
}{
	{"nothing happened", "shipped", false, func(r *run) { r.Conn.Close() }},
	{"a commit to ship", "mine", false, func(r *run) {
		down(r.Store)
		exec(r.T, r.Conn, "INSERT INTO t VALUES ('mine')")
		save(r.T, r.Path).Crash(r.T, r.Store, r.Path, r.Conn)
	}},
	{"a commit that was not shipped", "mine", true, func(r *run) {
		down(r.Store)
		exec(r.T, r.Conn, "INSERT INTO t VALUES ('mine')")
		save(r.T, r.Path).Crash(r.T, r.Store, r.Path, r.Conn)
		rival(r)
	}},
	{"a commit that was checkpointed and not shipped", "mine", true, func(r *run) {
		down(r.Store)
		exec(r.T, r.Conn, "INSERT INTO t VALUES ('mine')")
		r.Conn.Close()
		r.Store.SetBefore(nil)
		rival(r)
	}},
	{"a commit without syncs", "mine", true, func(r *run) {
		exec(r.T, r.Conn, "PRAGMA synchronous=off", "INSERT INTO t VALUES ('shipped, too')")
		settled(r.T, r.Path)
		down(r.Store)
		exec(r.T, r.Conn, "INSERT INTO t VALUES ('mine')")
		save(r.T, r.Path).Crash(r.T, r.Store, r.Path, r.Conn)
		rival(r)
	}},
	{"a foreign commit", "mine", true, func(r *run) {
		r.Conn.Close()
		plain := open(r.T, "file:"+r.Path)
		exec(r.T, plain, "INSERT INTO t VALUES ('mine')")
		plain.Close()
		rival(r)
	}},
	{"a foreign commit that is in the WAL", "mine", true, func(r *run) {
		r.Conn.Close()
		plain := open(r.T, "file:"+r.Path)
		exec(r.T, plain, "INSERT INTO t VALUES ('mine')")
		d := save(r.T, r.Path)
		plain.Close()
		d.Write(r.T, r.Path)
		rival(r)
	}},
	{"a foreign commit in the WAL of a restored database", "mine", true, func(r *run) {
		r.Conn.Close()
		if _, err := restore.Restore(r.T.Context(), r.Store, r.Path, restore.Options{Force: true}); err != nil {
			r.T.Fatal(err)
		}
		plain := open(r.T, "file:"+r.Path)
		exec(r.T, plain, "INSERT INTO t VALUES ('mine')")
		d := save(r.T, r.Path)
		plain.Close()
		d.Write(r.T, r.Path)
		rival(r)
	}},
	{"another history", "shipped", true, func(r *run) {
		r.Conn.Close()
		other := newRun(r.T)
		exec(r.T, other.Conn, "INSERT INTO t VALUES ('other')")
		settled(r.T, other.Path)
		exec(r.T, other.Conn, "INSERT INTO t VALUES ('other')")
		settled(r.T, other.Path)
		copyReplica(r.T, other.Store, r.Store)
	}},
	{"a commit of a run that never reached the store", "mine", true, func(r *run) {
		r.Conn.Close()
		down(r.Store)
		r.Open()
		exec(r.T, r.Conn, "INSERT INTO t VALUES ('mine')")
		checkpoint(r.T, r.Conn, sqlite3.CHECKPOINT_TRUNCATE)
		r.Conn.Close()
		r.Store.SetBefore(nil)
		rival(r)
	}},
	{"a commit of a run that knew of the loss", "mine", true, func(r *run) {
		loseCommit(r)
		r.Open()
		exec(r.T, r.Conn, "INSERT INTO t VALUES ('mine')")
		flush(r.T.Context(), r.Path)
		r.Conn.Close()
	}},
	{"a commit in place of those that the disk lost", "mine", true, func(r *run) {
		exec(r.T, r.Conn, "UPDATE t SET x = randomblob(400) WHERE rowid BETWEEN 100 AND 200")
		settled(r.T, r.Path)
		exec(r.T, r.Conn, "UPDATE t SET x = randomblob(400) WHERE rowid BETWEEN 100 AND 200")
		settled(r.T, r.Path)
		side, err := statefile.Load(r.Path)
		if err != nil {
			r.T.Fatal(err)
		}
		d := save(r.T, r.Path)
		kept := side.State.Trail[len(side.State.Trail)-3].Number
		clear(d["-wal"][format.FrameOffset(4096, kept+1):])
		d.Crash(r.T, r.Store, r.Path, r.Conn)
		plain := open(r.T, "file:"+r.Path)
		exec(r.T, plain, "INSERT INTO t VALUES ('mine')")
		d = save(r.T, r.Path)
		plain.Close()
		d.Write(r.T, r.Path)
	}},
	{"a commit after those that the disk lost", "mine", true, func(r *run) {
		loseCommit(r)
		plain := open(r.T, "file:"+r.Path)
		exec(r.T, plain, "INSERT INTO t VALUES ('mine')", "INSERT INTO t VALUES ('mine')")
		d := save(r.T, r.Path)
		plain.Close()
		d.Write(r.T, r.Path)
	}},
}

// An open does not replace a database with a commit of its own, a database whose replica
// holds another history, or a database that is not behind.
func TestNotBehind(t *testing.T) {
	for _, test := range notBehind {
		t.Run(test.name, func(t *testing.T) {
			r := newRun(t)
			test.do(r)
			r.Store.SetBefore(nil)
			r.Conn = open(t, uri(r.Path, r.Store, "restore=if-behind"))
			if got := query(t, r.Conn, "SELECT x FROM t ORDER BY rowid DESC"); got != test.newest {
				t.Errorf("the newest row is %s", got)
			}
			if err := flush(t.Context(), r.Path); errors.Is(err, shipper.ErrDiverged) != test.diverged {
				t.Errorf("got %v", err)
			}
			r.Conn.Close()
			if _, err := os.Stat(r.Path + "-walvfs-behind"); err == nil {
				t.Error("it was replaced")
			}
		})
	}
}

// copyReplica copies all files of a replica to another replica.
func copyReplica(t *testing.T, from, to *storagetest.Memory) {
	t.Helper()
	for obj, err := range to.List(t.Context(), "", "") {
		if err == nil {
			err = to.Delete(t.Context(), obj.Key)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	for obj, err := range from.List(t.Context(), "", "") {
		if err != nil {
			t.Fatal(err)
		}
		r, attrs, err := from.Open(t.Context(), obj.Key, 0, -1)
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(r)
		if err == nil {
			err = to.Create(t.Context(), obj.Key, bytes.NewReader(b), attrs)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// An open with restore=if-behind fails if the store does not answer: the database may be
// behind.
func TestIfBehindUnreachable(t *testing.T) {
	r := newRun(t)
	r.Conn.Close()
	r.Store.SetBefore(func(context.Context, string, string) error { return errInjected })
	if got := openError(t, uri(r.Path, r.Store, "restore=if-behind")); !strings.Contains(got, "restore=if-behind") {
		t.Error(got)
	}
	r.Store.SetBefore(nil)
	r.RequireShips(0)
}
