package vfs_test

import (
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"testing"

	"github.com/walvfs/walvfs/vfs"
	"github.com/walvfs/walvfs/vfs/internal/dbtest"
)

// TestPrefixCopied holds invariants 1 and 2 when the pages of every cut, and of its files
// of higher levels, are copied first, under everything that applications do.
func TestPrefixCopied(t *testing.T) {
	defer vfs.SetLargeCut(0)()
	for _, foreign := range []bool{false, true} {
		t.Run(fmt.Sprint("foreign=", foreign), func(t *testing.T) {
			seed := rand.Uint64()
			t.Logf("seed %d", seed)
			rng := rand.New(rand.NewPCG(seed, 0))
			store := newReplica(t)
			path := filepath.Join(t.TempDir(), "bank.db")
			ours := strings.Replace(uri(path, store, "_pragma=busy_timeout(20000)"), "vfs=replicated&", "vfs="+dbtest.LevelsVFS+"&", 1)
			conn := dbtest.OpenBank(t, ours, rng)
			uris := []string{ours, ours, ours}
			if foreign {
				uris = append(uris, "file:"+path+"?_pragma=busy_timeout(20000)")
			}
			dbtest.DoBusiness(t, rng, uris...)
			settled(t, path)
			requireBank(t, conn, "the database")
			conn.Close()
			requireEqual(t, store, path)
			dbtest.RequirePoints(t, store, 1, 2)
		})
	}
}
