//go:build unix

package follow_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"github.com/ncruces/go-sqlite3"

	"github.com/walvfs/walvfs/internal/statefile"
	"github.com/walvfs/walvfs/shipper/restore"
)

// killedOld writes to dir a database that an application had open when it was killed.
func killedOld(t *testing.T, dir string, sql ...string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "app.db")
	conn, err := sqlite3.Open("file:" + path)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	for _, s := range sql {
		if err := conn.Exec(s); err != nil {
			t.Fatal(err)
		}
	}
	for _, suffix := range []string{"", "-wal", "-journal"} {
		if b, err := os.ReadFile(path + suffix); err == nil {
			if err := os.WriteFile(filepath.Join(dir, "app.db"+suffix), b, 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// contentOf makes SQLite recover a database, checks it, and returns its content.
func contentOf(t *testing.T, path string) string {
	t.Helper()
	check := ask(t, path, "PRAGMA integrity_check")
	content := ask(t, path, "SELECT group_concat(sql) FROM sqlite_schema")
	if ask(t, path, "SELECT count(*) FROM sqlite_schema WHERE name='old'") == "1" {
		content += ask(t, path, "SELECT group_concat(a||b) FROM old")
	}
	return check + content
}

// If the power fails at any time while a database is replaced, either the old database or
// the new one exists afterwards, and the next restore succeeds.
func TestReplacePowerLoss(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	l := newLive(t, 4096)
	l.commit(schema, manyRows(20))
	store := l.store()
	plain := filepath.Join(t.TempDir(), "app.db")
	if _, err := restore.Restore(t.Context(), store, plain, restore.Options{}); err != nil {
		t.Fatal(err)
	}
	newest := contentOf(t, plain)

	const fill = `PRAGMA page_size=512; CREATE TABLE old(a, b); INSERT INTO old SELECT value, hex(randomblob(100)) FROM generate_series(1, 9)`
	const change = `UPDATE old SET b=hex(randomblob(120))`
	for name, sql := range map[string][]string{
		"wal":     {fill, "PRAGMA journal_mode=wal; PRAGMA wal_autocheckpoint=0", change, change},
		"journal": {fill, "PRAGMA cache_size=1; BEGIN", change},
	} {
		t.Run(name, func(t *testing.T) {
			dir := powerDir(t)
			killedOld(t, dir, sql...)
			p := &powerTrial{t: t, store: store, rng: rng, count: map[powerLoss]int{}}
			disk := newPowerDisk(t, dir)
			before := disk.powerImage
			old := contentOf(t, filepath.Join(filepath.Dir(p.put(before.after(kept, rng))), "app.db"))
			opts := disk.follow().Options
			opts.Force, opts.Keep = true, filepath.Join(dir, "app.db"+statefile.SuffixBehind)
			if _, err := restore.Restore(t.Context(), store, filepath.Join(dir, "app.db"), opts); err != nil {
				t.Fatal(err)
			}
			for k, i := range disk.images {
				for _, loss := range []powerLoss{dropped, kept, zeroed, partly, partly, partly} {
					label := fmt.Sprintf("image %d of %d, %s, unsynced content %s", k, len(disk.images), i.what, loss)
					path := filepath.Join(filepath.Dir(p.put(i.after(loss, rng))), "app.db")
					if !exists(path) {
						t.Fatalf("%s: there is no database", label)
					}
					if got := contentOf(t, path); got != old && got != newest {
						t.Fatalf("%s: it holds %.200q", label, got)
					}
					if rng.IntN(8) != 0 {
						continue
					}
					if _, err := restore.Restore(t.Context(), store, path, restore.Options{Force: true}); err != nil {
						t.Fatalf("%s: %v", label, err)
					}
					if got := contentOf(t, path); got != newest {
						t.Fatalf("%s: the next restore makes %.200q", label, got)
					}
				}
			}
			t.Logf("%d images", len(disk.images))
		})
	}
}
