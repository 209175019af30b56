package reader_test

import (
	"strings"
	"testing"

	"github.com/ncruces/go-sqlite3"

	"github.com/walvfs/walvfs/vfs/internal/dbtest"
)

// A PRAGMA accepts an age, a URI does not: the connections of a pool, opened one after
// another, would each see another moment.
func TestAges(t *testing.T) {
	store := dbtest.NewReplica(t)
	w := newWriter(t, store, 4096)
	txid := w.commit(1)
	conn := dbtest.Open(t, uri(store))
	dbtest.Exec(t, conn, "PRAGMA walvfs_time='0 seconds ago'")
	if got := dbtest.Query(t, conn, "PRAGMA walvfs_txid"); got != txid.String() {
		t.Errorf("now is TXID %s, not %s", got, txid)
	}
	for move, want := range map[string]string{
		"1 day ago":            "before the oldest state",
		"9999-12-31":           "is in the future",
		"a year ago":           "expected a time such as",
		"2026-01-02T15:04:05X": "expected a time such as",
	} {
		if err := conn.Exec("PRAGMA walvfs_time='" + move + "'"); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", move, err)
		}
	}
	for param, want := range map[string]string{
		"0s ago":     "changes its meaning",
		"x":          "expected a time such as",
		"9999-12-31": "is in the future",
	} {
		c, err := sqlite3.Open(uri(store, "timestamp="+strings.ReplaceAll(param, " ", "%20")))
		if err == nil {
			c.Close()
		}
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("timestamp=%s: %v", param, err)
		}
	}
}
