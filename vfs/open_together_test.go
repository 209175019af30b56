package vfs_test

import (
	"path/filepath"
	"strconv"
	"sync"
	"testing"

	"github.com/ncruces/go-sqlite3"
)

// Connections of a process that open a database at once, as a pool does, all succeed and
// share one database, also if the open first restores it, and also while its last
// connections close.
func TestOpenedTogether(t *testing.T) {
	const conns, rounds = 4, 8
	for name, prepare := range map[string]func(r *run) (path, rows string){
		"missing, and no replica": func(r *run) (string, string) {
			r.Store = newReplica(r.T)
			return filepath.Join(r.T.TempDir(), "app.db"), "0"
		},
		"missing": func(r *run) (string, string) { return filepath.Join(r.T.TempDir(), "app.db"), "501" },
		"behind": func(r *run) (string, string) {
			rival(r)
			return r.Path, "502"
		},
		"the newest": func(r *run) (string, string) { return r.Path, "501" },
	} {
		t.Run(name, func(t *testing.T) {
			for range rounds {
				r := newRun(t)
				r.Conn.Close()
				path, rows := prepare(r)
				before, _ := strconv.Atoi(rows)
				openTogether(t, uri(path, r.Store, "restore=if-behind", "close_timeout=1ms", "_pragma=busy_timeout(20000)"), conns)
				conn := open(t, "file:"+path)
				if got := query(t, conn, "SELECT count(*) FROM t"); got != strconv.Itoa(before+2*conns) {
					t.Fatalf("there are %s rows, not %d", got, before+2*conns)
				}
				conn.Close()
			}
		})
	}
}

// openTogether opens several connections at a time, twice; each writes a row and closes.
func openTogether(t *testing.T, uri string, conns int) {
	t.Helper()
	var wg sync.WaitGroup
	for range conns {
		wg.Go(func() {
			for range 2 {
				conn, err := sqlite3.Open(uri)
				if err == nil {
					err = conn.Exec("CREATE TABLE IF NOT EXISTS t (x); INSERT INTO t VALUES ('together')")
				}
				if err != nil {
					t.Error(err)
				}
				conn.Close()
			}
		})
	}
	wg.Wait()
}
