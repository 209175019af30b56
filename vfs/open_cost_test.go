package vfs_test

import (
	"context"
	"strings"
	"sync"
	"testing"
)

// Besides uploads, opening and closing a cleanly closed database costs at most two
// requests: a listing and a read of the newest file.
func TestOpenCost(t *testing.T) {
	store, path := newReplica(t), t.TempDir()+"/app.db"
	conn := open(t, uri(path, store))
	exec(t, conn, "CREATE TABLE t (x)")
	conn.Close()

	var mu sync.Mutex
	asked := map[string]int{}
	store.SetBefore(func(_ context.Context, op, key string) error {
		if op == "create" && !strings.HasSuffix(key, ".ltx") { // the probe, once for each bucket and process
			return nil
		}
		mu.Lock()
		defer mu.Unlock()
		asked[op]++
		return nil
	})
	for sql, most := range map[string]map[string]int{
		"SELECT * FROM t":          {"list": 1, "open": 1},
		"INSERT INTO t VALUES (1)": {"list": 1, "open": 1, "create": 1},
	} {
		mu.Lock()
		clear(asked)
		mu.Unlock()
		conn := open(t, uri(path, store))
		exec(t, conn, sql)
		conn.Close()
		mu.Lock()
		for op, n := range asked {
			if n > most[op] {
				t.Errorf("%s: %v, not %v at most", sql, asked, most)
			}
		}
		mu.Unlock()
	}
}
