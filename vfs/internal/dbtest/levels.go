package dbtest

import (
	"fmt"
	"testing"
	"time"

	"github.com/walvfs/walvfs/format"
	"github.com/walvfs/walvfs/shipper"
	"github.com/walvfs/walvfs/shipper/replica"
	"github.com/walvfs/walvfs/shipper/storage"
	"github.com/walvfs/walvfs/vfs"
)

// LevelsVFS is a replicating VFS that constantly makes files of levels 1 to 3 and 9, and
// soon deletes them.
const LevelsVFS = "replicated-levels"

func init() {
	vfs.Register(LevelsVFS, vfs.Options{Policy: shipper.Policy{
		Levels:    []time.Duration{60 * time.Millisecond, 250 * time.Millisecond, time.Second},
		Snapshots: 2 * time.Second,
		Retention: 4 * time.Second,
	}})
}

// RequirePoints fails unless a replica has files of some levels, and about 60 of its
// restorable TXIDs each hold the bank after one commit, with later commits at later
// TXIDs. It returns all restorable TXIDs.
func RequirePoints(t *testing.T, store storage.Store, levels ...int) []format.TXID {
	t.Helper()
	files, err := replica.All(t.Context(), store)
	if err != nil {
		t.Fatal(err)
	}
	found := map[int]int{}
	for _, f := range files {
		found[f.Level]++
	}
	points := files.Restorable()
	t.Logf("files by level: %v; %d TXIDs can be restored", found, len(points))
	for _, level := range levels {
		if found[level] == 0 {
			t.Errorf("no file of level %d", level)
		}
	}
	before := 0
	for i := 0; i < len(points); i += 1 + len(points)/60 {
		_, conn := Restored(t, store, points[i])
		at := RequireBank(t, conn, fmt.Sprint("TXID ", points[i]))
		conn.Close()
		if at < before {
			t.Errorf("TXID %s is at commit %d, the one before at %d", points[i], at, before)
		}
		before = at
	}
	return points
}
