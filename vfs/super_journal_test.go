package vfs_test

import (
	"errors"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ncruces/go-sqlite3"

	"github.com/walvfs/walvfs/vfs"
)

// SQLite ignores the results of CommitPhaseTwo in a transaction with a super-journal:
// sync mode refuses such transactions, and no others.
func TestSyncSuperJournal(t *testing.T) {
	for _, test := range []struct {
		name    string
		main    string
		setup   string
		write   string
		refused bool
	}{
		{"two in rollback mode", "plain.db", "", "INSERT INTO m VALUES (1); INSERT INTO also.n VALUES (1); INSERT INTO app.t VALUES (1)", true},
		{"one of them is read", "plain.db", "", "INSERT INTO m VALUES (1); SELECT * FROM also.n; INSERT INTO app.t VALUES (1)", false},
		{"one of them in WAL mode", "plain.db", "PRAGMA also.journal_mode=wal", "INSERT INTO m VALUES (1); INSERT INTO also.n VALUES (1); INSERT INTO app.t VALUES (1)", false},
		{"one of them with a journal in memory", "plain.db", "PRAGMA also.journal_mode=memory", "INSERT INTO m VALUES (1); INSERT INTO also.n VALUES (1); INSERT INTO app.t VALUES (1)", false},
		{"one of them in memory", ":memory:", "", "INSERT INTO m VALUES (1); INSERT INTO also.n VALUES (1); INSERT INTO app.t VALUES (1)", false},
		{"async", "plain.db", "PRAGMA app.walvfs_durability=async", "INSERT INTO m VALUES (1); INSERT INTO also.n VALUES (1); INSERT INTO app.t VALUES (1)", false},
	} {
		t.Run(test.name, func(t *testing.T) {
			store := newReplica(t)
			dir := t.TempDir()
			main := test.main
			if main != ":memory:" {
				main = filepath.Join(dir, main)
			}
			conn := open(t, main)
			exec(t, conn, "CREATE TABLE m (x)", "ATTACH 'file:"+dir+"/also.db' AS also", "CREATE TABLE also.n (x)",
				"ATTACH '"+uri(filepath.Join(dir, "app.db"), store, "durability=sync")+"' AS app", "CREATE TABLE app.t (x)", test.setup)
			err := conn.Exec("BEGIN; " + test.write + "; COMMIT")
			rows := "1"
			if test.refused {
				rows = "0"
				if !errors.Is(err, sqlite3.IOERR) || !strings.Contains(vfs.Cause(conn).Error(), "rollback mode") {
					t.Errorf("got %v", err)
				}
				if !conn.GetAutocommit() {
					exec(t, conn, "ROLLBACK")
				}
			} else if err != nil {
				t.Error(err)
			}
			if got := query(t, conn, "SELECT count(*) FROM m"); got != rows {
				t.Errorf("%s rows in the main database", got)
			}
			exec(t, conn, "INSERT INTO app.t VALUES (2)")
			if err := flush(t.Context(), filepath.Join(dir, "app.db")); err != nil {
				t.Fatal(err)
			}
			if got := query(t, conn, "SELECT count(*) FROM app.t"); got != replicaRows(t, store) {
				t.Errorf("%s rows, the replica has %s", got, replicaRows(t, store))
			}
		})
	}
}
