package vfs_test

import (
	"errors"
	"path/filepath"
	"strings"
	"testing"

	"github.com/walvfs/walvfs/shipper"
	"github.com/walvfs/walvfs/shipper/restore"
)

// An older moment is put back into production: the application continues from it, later
// states stay restorable, and another writer that continues meanwhile is fenced. If the
// restore did not request this, replication halts with an error.
func TestRewind(t *testing.T) {
	for _, rewind := range []bool{true, false} {
		r := newRun(t)
		older := lastTXID(t, r.Store)
		exec(t, r.Conn, "DELETE FROM t WHERE rowid % 2")
		settled(t, r.Path)
		newer := lastTXID(t, r.Store)

		path := filepath.Join(t.TempDir(), "app.db")
		machine := newAlias(t, r.Store)
		if _, err := restore.Restore(t.Context(), machine, path, restore.Options{TXID: older, Rewind: rewind}); err != nil {
			t.Fatal(err)
		}
		conn := open(t, uri(path, machine, "close_timeout=1ms"))
		exec(t, conn, "INSERT INTO t VALUES ('after the rewind')")
		err := flush(t.Context(), path)
		if !rewind {
			if !errors.Is(err, shipper.ErrDiverged) || !strings.Contains(err.Error(), "has gone on") {
				t.Errorf("without rewind: %v", err)
			}
			if got := lastTXID(t, r.Store); got != newer {
				t.Errorf("the replica went from %s to %s", newer, got)
			}
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		if got := replicaRows(t, r.Store); got != "502" {
			t.Errorf("the replica has %s rows", got)
		}
		_, after := restored(t, r.Store, newer)
		if got := query(t, after, "SELECT count(*) < 300 FROM t"); got != "1" {
			t.Error("what came after is not restorable")
		}
		exec(t, r.Conn, "INSERT INTO t VALUES ('of the old writer')")
		if err := flush(t.Context(), r.Path); !errors.Is(err, shipper.ErrFenced) {
			t.Errorf("the old writer got %v", err)
		}
		conn.Close()
		requireEqual(t, r.Store, path)
		requireIntact(t, r.Store)

		// Only the first open does so.
		conn = open(t, uri(path, machine, "close_timeout=1ms"))
		tip := lastTXID(t, r.Store)
		exec(t, conn, "INSERT INTO t VALUES ('later')")
		settled(t, path)
		if got := pagesSince(t, r.Store, tip); got > 3 {
			t.Errorf("%d pages were uploaded", got)
		}
		conn.Close()
	}
}

// A writer that continues during such a restore of an older moment wins, and the restored
// database halts.
func TestRewindIsOvertaken(t *testing.T) {
	r := newRun(t)
	older := lastTXID(t, r.Store)
	exec(t, r.Conn, "INSERT INTO t VALUES ('two')")
	settled(t, r.Path)
	path := filepath.Join(t.TempDir(), "app.db")
	machine := newAlias(t, r.Store)
	if _, err := restore.Restore(t.Context(), machine, path, restore.Options{TXID: older, Rewind: true}); err != nil {
		t.Fatal(err)
	}
	exec(t, r.Conn, "INSERT INTO t VALUES ('three')")
	settled(t, r.Path)
	conn := open(t, uri(path, machine, "close_timeout=1ms"))
	if err := flush(t.Context(), path); !errors.Is(err, shipper.ErrDiverged) {
		t.Errorf("got %v", err)
	}
	conn.Close()
	r.Conn.Close()
	requireEqual(t, r.Store, r.Path)
}
