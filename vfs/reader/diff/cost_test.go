package diff_test

import (
	"sync/atomic"
	"testing"

	"github.com/walvfs/walvfs/format"
	"github.com/walvfs/walvfs/vfs/internal/dbtest"
)

// The requests that a difference takes follow from the changes, not from the tables: rows
// side by side share their pages, and each one far from the others takes two, its leaf and
// the page above. The table has 5,000 leaves.
func TestCost(t *testing.T) {
	store := dbtest.NewReplica(t)
	h := newHistory(t, store, dbtest.MemoryDir(t))
	defer h.close()
	h.commit(
		"PRAGMA page_size=1024",
		"CREATE TABLE many (id INTEGER PRIMARY KEY, v)",
		"CREATE TABLE other (id INTEGER PRIMARY KEY, v)",
		"INSERT INTO many SELECT value, hex(randomblob(150)) FROM generate_series(1, 15000)",
		"INSERT INTO other SELECT value, hex(randomblob(150)) FROM generate_series(1, 15000)")
	var requests atomic.Int64
	store.SetBefore(dbtest.CountRequests(&requests))
	for _, c := range []struct {
		name string
		sql  string
		rows int
		most int64

		snapshot bool // the later state is one
	}{
		{"rows side by side", "UPDATE many SET v = 'x' || v WHERE id BETWEEN 5000 AND 5099", 100, 40, false},
		{"rows far from each other", "UPDATE many SET v = 'y' || v WHERE id % 300 = 0", 50, 130, false},
		{"rows of a new snapshot", "UPDATE many SET v = 'w' || v WHERE id % 300 = 1", 50, 150, true},
		{"rows at the end", "INSERT INTO many SELECT value, 'z' FROM generate_series(20001, 20100)", 100, 40, false},
		{"rows that are gone", "DELETE FROM many WHERE id BETWEEN 7000 AND 7099", 100, 40, false},
		{"rows of two tables", "DELETE FROM many WHERE id = 1; DELETE FROM other WHERE id = 15000", 2, 40, false},
	} {
		before := h.commit("PRAGMA user_version=1") // so that the one before is not what was read last
		after := h.commit(c.sql)
		if c.snapshot {
			h.put(format.LevelSnapshot, 1, after)
		}
		requests.Store(0)
		got := h.compare(before, after, nil)
		n := requests.Load()
		t.Logf("%s: %d requests", c.name, n)
		if rows := len(got.rows["many"]) + len(got.rows["other"]); rows != c.rows {
			t.Errorf("%s: %d rows, want %d", c.name, rows, c.rows)
		}
		if n > c.most || len(got.notes) > 0 {
			t.Errorf("%s: %d requests, want %d at most; notes %q", c.name, n, c.most, got.notes)
		}
	}
}
