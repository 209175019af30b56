package reader_test

import (
	"strconv"
	"testing"

	"github.com/walvfs/walvfs/vfs/internal/dbtest"
)

// A full scan gets many pages with each request, with a cache that holds everything, with
// a cache that holds a fraction, and with pages in several files.
func TestScanRequests(t *testing.T) {
	store := dbtest.NewReplica(t)
	w := newWriter(t, store, 4096)
	for range 5 {
		dbtest.Exec(t, w.Conn, "INSERT INTO pad SELECT NULL, randomblob(900) FROM generate_series(1, 1200)")
	}
	w.commit(1)
	w.compact()
	dbtest.Exec(t, w.Conn, "UPDATE pad SET data = randomblob(900) WHERE id % 50 = 0")
	w.commit(1)
	w.close()
	const sum = "SELECT count(*) || ' ' || sum(length(data)) || ' ' || max(data) FROM pad NOT INDEXED"
	local := dbtest.Open(t, "file:"+w.path)
	want := dbtest.Query(t, local, sum)
	n := count(store)
	for _, memory := range []string{"64MiB", "1MiB", "64MiB&cache_dir=" + t.TempDir()} {
		n.reset()
		conn := dbtest.Open(t, uri(store, "interval=1h", "cache_memory="+memory))
		pages, _ := strconv.Atoi(dbtest.Query(t, conn, "PRAGMA page_count"))
		if got := dbtest.Query(t, conn, sum); got != want {
			t.Errorf("%s: %s, want %s", memory, got, want)
		}
		if most := int64(pages / 12); n.opens.Load() > most {
			t.Errorf("%s: %s for %d pages", memory, n, pages)
		}
		t.Logf("%s: %s for %d pages", memory, n, pages)
		conn.Close()
	}
}
