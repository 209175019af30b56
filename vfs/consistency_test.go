package vfs_test

import (
	"math/rand/v2"
	"path/filepath"
	"testing"

	"github.com/walvfs/walvfs/vfs/internal/dbtest"
)

// TestPrefix holds invariants 1 and 2 while the disk fails now and then: every TXID is
// the database at one commit boundary. Package vfstest has the same test without faults.
func TestPrefix(t *testing.T) {
	for _, test := range []struct {
		name    string
		foreign bool
		params  []string
	}{
		{name: "faults"},
		{name: "faults,psow=0", params: []string{"psow=0"}},
		{name: "foreign,faults", foreign: true},
	} {
		t.Run(test.name, func(t *testing.T) {
			seed := rand.Uint64()
			t.Logf("seed %d", seed)
			rng := rand.New(rand.NewPCG(seed, 0))
			store := newReplica(t)
			path := filepath.Join(t.TempDir(), "bank.db")
			hooks, on := sometimes(400, 40)
			ours := faulty(path, store, hooks, append(test.params, "_pragma=busy_timeout(20000)", "_pragma=synchronous(full)")...)
			conn := dbtest.OpenBank(t, ours, rng)
			uris := []string{ours, ours, ours, ours}
			if test.foreign {
				uris = append(uris, "file:"+path+"?_pragma=busy_timeout(20000)")
			}
			on.Store(true)
			dbtest.DoBusiness(t, rng, uris...)
			on.Store(false)
			tip := settled(t, path)
			final := requireBank(t, conn, "the database")
			conn.Close()
			requireEqual(t, store, path)
			files := requireEveryTXID(t, store)
			t.Logf("%d commits in %d TXIDs, tip %s", final, files, tip)
		})
	}
}
