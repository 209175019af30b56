package follow_test

import (
	"path/filepath"
	"testing"

	"github.com/walvfs/walvfs/shipper/restore"
)

// After a rewind, an older state is the replica's next one, and history continues from
// there.
func TestRewind(t *testing.T) {
	l := newLive(t, 4096)
	l.commit("CREATE TABLE t(a)", "INSERT INTO t VALUES('old')", "INSERT INTO t VALUES('mistake')")
	l.conn.Close()
	store := l.store()
	before := tip(t, store)
	back := &live{t: t, path: filepath.Join(t.TempDir(), "back.db"), replica: l.replica}
	if _, err := restore.Restore(t.Context(), store, back.path, restore.Options{TXID: before - 1, Rewind: true}); err != nil {
		t.Fatal(err)
	}
	back.open()
	back.commit("INSERT INTO t VALUES('new')")
	back.conn.Close()
	for _, c := range []struct {
		opts restore.Options
		want string
	}{
		{restore.Options{}, "old,new"},
		{restore.Options{TXID: before}, "old,mistake"}, // it stays restorable
	} {
		path := filepath.Join(t.TempDir(), "app.db")
		r, err := restore.Restore(t.Context(), store, path, c.opts)
		if err != nil {
			t.Fatal(err)
		}
		if got := ask(t, path, "SELECT group_concat(a) FROM t"); got != c.want {
			t.Errorf("TXID %s has %s, want %s", r.TXID, got, c.want)
		}
	}
}
