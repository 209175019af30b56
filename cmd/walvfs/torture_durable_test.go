package main

import (
	"errors"
	"path/filepath"
	"testing"

	"github.com/walvfs/walvfs/vfs"
)

// checkDurable is invariant 3: commits confirmed to a process are in the replica after
// the process and its disk are lost, before any further upload.
func (b *bucket) checkDurable(t *testing.T, told []commit) {
	t.Helper()
	if len(told) == 0 {
		return
	}
	path := filepath.Join(t.TempDir(), "elsewhere.db")
	if !b.newestRestorable(t, path) {
		t.Errorf("the replica is empty, and was said to have %d commits", len(told))
		return
	}
	journal := readBank(t, "file:"+path+"?mode=ro&immutable=1", "the replica", false)
	for _, c := range told {
		if len(journal) < c.n || journal[c.n-1] != c.id {
			t.Errorf("commit %d was said to be in the replica, which ends at commit %d", c.n, len(journal))
		}
	}
}

// choose makes the commits of a new connection wait, or not. The commits of the worker's
// earlier connection are unknown.
func (w *worker) choose() {
	w.sync, w.last = w.Sync, commit{}
	if w.sync && w.rng.IntN(3) == 0 && w.exec(w.conn, "PRAGMA walvfs_durability=async") == nil {
		w.sync = false
	}
}

// committed prints a commit, and whether it is confirmed in the replica.
func (w *worker) committed(c commit, confirmed bool) {
	w.say("commit %d %d", c.n, c.id)
	w.last = c
	if w.sync && confirmed {
		w.say("drained %d %d", c.n, c.id)
	}
}

// unconfirmed reports whether a commit that waits for the replica was made without being
// confirmed.
func (c *child) unconfirmed(err error) bool {
	return c.Sync && errors.Is(err, vfs.ErrUnconfirmed)
}
