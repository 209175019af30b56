package main

import (
	"errors"
	"path/filepath"
	"testing"

	"github.com/walvfs/walvfs/vfs"
)

// checkDurable is invariant 3: what a process was told to be in the replica is there
// when the process and its disk are gone, before anybody ships something again.
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

// choose has the commits of a connection that was opened wait, or not. Nothing is
// known of those of the worker's connection before it.
func (w *worker) choose() {
	w.sync, w.last = w.Sync, commit{}
	if w.sync && w.rng.IntN(3) == 0 && w.exec(w.conn, "PRAGMA walvfs_durability=async") == nil {
		w.sync = false
	}
}

// committed says so, and whether the replica is known to have it.
func (w *worker) committed(c commit, confirmed bool) {
	w.say("commit %d %d", c.n, c.id)
	w.last = c
	if w.sync && confirmed {
		w.say("drained %d %d", c.n, c.id)
	}
}

// unconfirmed reports whether a commit was made, and is not known to be in the
// replica, as those that wait for it may be.
func (c *child) unconfirmed(err error) bool {
	return c.Sync && errors.Is(err, vfs.ErrUnconfirmed)
}
