package vfs_test

import (
	"context"
	"errors"
	"path/filepath"
	"testing"

	"github.com/walvfs/walvfs/shipper"
	"github.com/walvfs/walvfs/vfs"
)

// A handle waits for the commits of all connections and returns how its run ended; after
// the database is opened again, Lookup returns another handle.
func TestHandle(t *testing.T) {
	store := newReplica(t)
	path := filepath.Join(t.TempDir(), "app.db")
	u := uri(path, store, "interval=1h")
	conn, other := open(t, u), open(t, u)
	exec(t, conn, "CREATE TABLE t (x)")
	db, err := vfs.Lookup(path)
	if err != nil {
		t.Fatal(err)
	}
	exec(t, other, "INSERT INTO t VALUES (1)")
	if err := db.Wait(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := replicaRows(t, store); got != "1" {
		t.Errorf("%s rows are in the replica after Wait", got)
	}

	entered, release := make(chan struct{}), make(chan struct{})
	store.SetBefore(func(_ context.Context, op, _ string) error {
		if op == "create" {
			close(entered)
			<-release
		}
		return nil
	})
	exec(t, conn, "INSERT INTO t VALUES (2)")
	waited := make(chan error, 1)
	go func() { waited <- db.Wait(t.Context()) }()
	<-entered
	select {
	case err := <-waited:
		t.Errorf("Wait returned before the upload was done: %v", err)
	default:
	}
	close(release)
	if err := <-waited; err != nil {
		t.Error(err)
	}
	store.SetBefore(nil)
	if st := db.Status(); st.Path != db.Path() || st.Replica != store.String() || st.State != shipper.Streaming {
		t.Errorf("%+v", st)
	}

	exec(t, conn, "INSERT INTO t VALUES (3)")
	other.Close()
	conn.Close()
	if _, err := vfs.Lookup(path); !errors.Is(err, vfs.ErrNotReplicated) {
		t.Errorf("closed, it is found: %v", err)
	}
	tip := lastTXID(t, store)
	for name, wait := range map[string]func(context.Context) error{"Wait": db.Wait, "Flush": db.Flush} {
		if err := wait(t.Context()); err != nil {
			t.Errorf("%s of a closed database that left nothing: %v", name, err)
		}
	}
	if got := db.Status().Tip.TXID; got != tip {
		t.Errorf("the closed database's tip is %s, the replica's %s", got, tip)
	}
	open(t, u)
	again, err := vfs.Lookup(path)
	if err != nil {
		t.Fatal(err)
	}
	if *again == *db {
		t.Error("the handle of an earlier run was found")
	}
}
