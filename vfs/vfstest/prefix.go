package vfstest

import (
	"math/rand/v2"
	"path/filepath"
	"testing"

	"github.com/walvfs/walvfs/vfs/internal/dbtest"
)

// testPrefix is invariants 1 and 2: several connections write while cuts run, and
// every TXID is the database at one commit boundary.
func testPrefix(t *testing.T) {
	for _, test := range []struct {
		name    string
		foreign bool
		params  []string
	}{
		{name: "plain"},
		{name: "psow=0", params: []string{"psow=0"}},
		{name: "synchronous=full,psow=0", params: []string{"psow=0", "_pragma=synchronous(full)"}},
		{name: "foreign", foreign: true},
	} {
		t.Run(test.name, func(t *testing.T) {
			seed := rand.Uint64()
			t.Logf("seed %d", seed)
			rng := rand.New(rand.NewPCG(seed, 0))
			store := dbtest.NewReplica(t)
			path := filepath.Join(t.TempDir(), "bank.db")
			ours := dbtest.URI(path, store, append(test.params, "_pragma=busy_timeout(20000)")...)
			conn := dbtest.OpenBank(t, ours, rng)
			uris := []string{ours, ours, ours, ours}
			if test.foreign {
				uris = append(uris, "file:"+path+"?_pragma=busy_timeout(20000)")
			}
			dbtest.DoBusiness(t, rng, uris...)
			tip := dbtest.Settled(t, path)
			final := dbtest.RequireBank(t, conn, "the database")
			conn.Close()
			dbtest.RequireEqual(t, store, path)
			files := dbtest.RequireEveryTXID(t, store)
			t.Logf("%d commits in %d TXIDs, tip %s", final, files, tip)
		})
	}
}
