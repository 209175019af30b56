package vfs_test

import (
	"context"
	"errors"
	"path/filepath"
	"testing"
	"time"

	"github.com/ncruces/go-sqlite3"

	"github.com/walvfs/walvfs/format"
	"github.com/walvfs/walvfs/shipper"
	"github.com/walvfs/walvfs/vfs"
)

// Every call that fails because another writer owns the replica returns the same error:
// ErrFenced of this package, and of package shipper.
func TestErrorsHaveOneIdentity(t *testing.T) {
	timeout := func(call func(context.Context) error) error {
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		return call(ctx)
	}
	insert := func(conn *sqlite3.Conn) error { return conn.Exec("INSERT INTO t VALUES (3)") }
	for _, test := range []struct {
		name   string
		fenced bool // otherwise the store is down
		params string
		call   func(conn *sqlite3.Conn, path string) error
		is     []error
		not    []error
	}{
		{"Wait, fenced", true, "on_fenced=continue", func(conn *sqlite3.Conn, _ string) error { return vfs.WaitConn(t.Context(), conn) },
			[]error{vfs.ErrFenced, shipper.ErrFenced, vfs.ErrUnconfirmed, sqlite3.IOERR}, []error{vfs.ErrLag}},
		{"Flush, fenced", true, "on_fenced=continue", func(_ *sqlite3.Conn, path string) error { return flush(t.Context(), path) },
			[]error{vfs.ErrFenced, shipper.ErrFenced}, []error{vfs.ErrLag}},
		{"Shutdown, fenced", true, "on_fenced=continue", func(*sqlite3.Conn, string) error { return vfs.Shutdown(t.Context()) },
			[]error{vfs.ErrFenced, shipper.ErrFenced}, []error{vfs.ErrLag}},
		{"the cause of an unconfirmed commit, fenced", true, "durability=sync", func(conn *sqlite3.Conn, _ string) error { insert(conn); return vfs.Cause(conn) },
			[]error{vfs.ErrFenced, shipper.ErrFenced, vfs.ErrUnconfirmed}, []error{vfs.ErrLag}},
		{"a write, fenced", true, "on_fenced=readonly", func(conn *sqlite3.Conn, _ string) error { return insert(conn) },
			[]error{vfs.ErrFenced}, []error{vfs.ErrUnconfirmed}},
		{"the cause of a refused write, fenced", true, "on_fenced=readonly", func(conn *sqlite3.Conn, _ string) error { insert(conn); return vfs.Cause(conn) },
			[]error{vfs.ErrFenced, shipper.ErrFenced}, []error{vfs.ErrUnconfirmed}},
		{"Wait, timeout", false, "on_fenced=continue", func(conn *sqlite3.Conn, _ string) error {
			return timeout(func(ctx context.Context) error { return vfs.WaitConn(ctx, conn) })
		}, []error{vfs.ErrUnconfirmed, context.DeadlineExceeded, errInjected}, []error{vfs.ErrFenced}},
		{"Flush, timeout", false, "on_fenced=continue", func(_ *sqlite3.Conn, path string) error {
			return timeout(func(ctx context.Context) error { return flush(ctx, path) })
		}, []error{context.DeadlineExceeded, errInjected}, []error{vfs.ErrFenced, vfs.ErrUnconfirmed}},
	} {
		t.Run(test.name, func(t *testing.T) {
			store := newReplica(t)
			path := filepath.Join(t.TempDir(), "app.db")
			conn := open(t, uri(path, store, test.params, "close_timeout=1ms"))
			exec(t, conn, "CREATE TABLE t (x)", "INSERT INTO t VALUES (1)")
			tip := settled(t, path)
			if test.fenced {
				put(t, store, store.Layout().Key(format.LevelRaw, tip+1, tip+1), []byte("another writer's"))
				conn.Exec("INSERT INTO t VALUES (2)")
				eventually(t, "it halts", func() bool { st, _ := statusOf(path); return st.State == shipper.Halted })
			} else {
				down(store)
				exec(t, conn, "INSERT INTO t VALUES (2)")
				eventually(t, "it fails", func() bool { st, _ := statusOf(path); return st.State == shipper.Retrying })
			}
			err := test.call(conn, path)
			for _, want := range test.is {
				if !errors.Is(err, want) {
					t.Errorf("%v (%T) is not %v", err, err, want)
				}
			}
			for _, not := range test.not {
				if errors.Is(err, not) {
					t.Errorf("%v is %v", err, not)
				}
			}
			conn.Close()
		})
	}
}
