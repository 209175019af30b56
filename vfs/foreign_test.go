package vfs_test

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/walvfs/walvfs/format"
	"github.com/walvfs/walvfs/shipper/replica"
)

// A backup that cannot be restored is not an empty replica: an open with restore= fails
// instead of creating an empty database, and begins no replica next to the backup.
func TestMissingDatabaseBesideForeignBackup(t *testing.T) {
	store := newReplica(t)
	other := format.LayoutDecimal
	if store.Layout() == other {
		other = format.LayoutHex
	}
	for name, test := range map[string]struct{ key, want string }{
		"Litestream 0.3":          {"generations/0123456789abcdef/snapshots/00000000.snapshot.lz4", "Litestream before 0.5"},
		"another kind of store's": {other.Key(format.LevelRaw, 1, 1), "use another URL"},
	} {
		for _, when := range []string{"if-missing", "if-behind"} {
			t.Run(name+", "+when, func(t *testing.T) {
				store := newReplica(t)
				put(t, store, test.key, []byte("theirs"))
				dir := t.TempDir()
				u := uri(filepath.Join(dir, "app.db"), store, "restore="+when)
				if got := openError(t, u); !strings.Contains(got, test.want) {
					t.Errorf("%q lacks %q", got, test.want)
				}
				requireNoFile(t, dir)
				if files, _ := replica.Collect(replica.New(store, replica.Options{}).List(t.Context(), 0)); len(files) > 0 {
					t.Errorf("a replica was begun: %v", files)
				}
			})
		}
	}

	// Without a backup, the application starts with an empty database.
	conn := open(t, uri(filepath.Join(t.TempDir(), "app.db"), store, "restore=if-missing"))
	exec(t, conn, "CREATE TABLE t (x)")
}
