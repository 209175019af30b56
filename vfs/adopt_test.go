package vfs_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/walvfs/walvfs/format"
	"github.com/walvfs/walvfs/internal/statefile"
	"github.com/walvfs/walvfs/shipper"
)

// copyFiles copies the content of a closed database and of its state file to new files.
func copyFiles(t *testing.T, from, to string) {
	t.Helper()
	for _, suffix := range []string{"", "-wal", statefile.Suffix} {
		b, err := os.ReadFile(from + suffix)
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err == nil {
			err = os.WriteFile(to+suffix, b, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

func removeFiles(t *testing.T, path string) {
	t.Helper()
	for _, suffix := range []string{"", "-wal", "-shm", statefile.Suffix} {
		if err := os.Remove(path + suffix); err != nil && !errors.Is(err, os.ErrNotExist) {
			t.Fatal(err)
		}
	}
}

// arrivals bring a database to another place: each makes r.Path another file, or creates
// a second file, and returns the path.
var arrivals = map[string]func(t *testing.T, r *run) string{
	"moved": func(t *testing.T, r *run) string {
		to := filepath.Join(t.TempDir(), "moved.db")
		copyFiles(t, r.Path, to)
		removeFiles(t, r.Path)
		return to
	},
	"other inode": func(t *testing.T, r *run) string {
		aside := filepath.Join(t.TempDir(), "aside.db")
		copyFiles(t, r.Path, aside)
		// The old files stay open for now, so that their inodes are not used again.
		old, err := os.Open(r.Path)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { old.Close() })
		removeFiles(t, r.Path)
		copyFiles(t, aside, r.Path)
		return r.Path
	},
	"copied": func(t *testing.T, r *run) string {
		to := filepath.Join(t.TempDir(), "copied.db")
		copyFiles(t, r.Path, to)
		return to
	},
	"without a state file": func(t *testing.T, r *run) string {
		to := filepath.Join(t.TempDir(), "copied.db")
		copyFiles(t, r.Path, to)
		if err := os.Remove(to + statefile.Suffix); err != nil {
			t.Fatal(err)
		}
		return to
	},
}

// continues says whether a database continues the replica, by its arrival and by the
// parameter adopt.
var continues = map[string]map[string]bool{
	"moved":                {"": true, "moved": true, "equal": true, "never": false},
	"other inode":          {"": true, "moved": true, "equal": true, "never": false},
	"copied":               {"": false, "moved": false, "equal": true, "never": false},
	"without a state file": {"": false, "moved": false, "equal": true, "never": false},
}

// A moved database continues the replica, and a copied database does not unless its user
// allows it. Commits before the move that were not shipped are not lost.
func TestMovedOrCopied(t *testing.T) {
	for _, crash := range []bool{false, true} {
		for way, arrive := range arrivals {
			for adopt, goesOn := range continues[way] {
				name := way + ", adopt=" + adopt
				if crash {
					name += ", after a crash"
				}
				t.Run(name, func(t *testing.T) {
					r := newRun(t)
					if crash {
						down(r.Store)
						exec(t, r.Conn, "INSERT INTO t VALUES ('not shipped')")
						save(t, r.Path).Crash(t, r.Store, r.Path, r.Conn)
					} else {
						r.Conn.Close()
					}
					to := arrive(t, r)
					params := []string{"close_timeout=1ms"}
					if adopt != "" {
						params = append(params, "adopt="+adopt)
					}
					tip := lastTXID(t, r.Store)
					conn := open(t, uri(to, r.Store, params...))
					// The application writes much, and resets the WAL, before the
					// comparison.
					for range 3 {
						exec(t, conn, "UPDATE t SET x = randomblob(500) WHERE rowid % 3 = 0", "PRAGMA wal_checkpoint(TRUNCATE)")
					}
					err := flush(t.Context(), to)
					if !goesOn {
						if !errors.Is(err, shipper.ErrDiverged) || !strings.Contains(err.Error(), "adopt") {
							t.Errorf("got %v", err)
						}
						if got := lastTXID(t, r.Store); got != tip {
							t.Errorf("the replica went from %s to %s", tip, got)
						}
						return
					}
					if err != nil {
						t.Fatal(err)
					}
					conn.Close()
					requireEqual(t, r.Store, to)
					requireIntact(t, r.Store)

					// The next start needs no comparison.
					conn = open(t, uri(to, r.Store, "close_timeout=1ms"))
					exec(t, conn, "INSERT INTO t VALUES ('later')")
					settled(t, to)
					conn.Close()
					requireEqual(t, r.Store, to)
				})
			}
		}
	}
}

// Adoption refuses a database that differs from the replica, and the error says where.
func TestAdoptRefusesWhatDiffers(t *testing.T) {
	r := newRun(t)
	r.Conn.Close()
	to := filepath.Join(t.TempDir(), "copied.db")
	copyFiles(t, r.Path, to)
	shell := open(t, "file:"+to)
	exec(t, shell, "UPDATE t SET x = 'theirs' WHERE rowid = 400")
	shell.Close()
	tip := lastTXID(t, r.Store)
	conn := open(t, uri(to, r.Store, "adopt=equal"))
	err := flush(t.Context(), to)
	conn.Close()
	if !errors.Is(err, shipper.ErrDiverged) || !strings.Contains(err.Error(), "page ") {
		t.Errorf("got %v", err)
	}
	if got := lastTXID(t, r.Store); got != tip {
		t.Errorf("the replica went from %s to %s", tip, got)
	}
}

// An adopted copy fences an original that still runs.
func TestAdoptFences(t *testing.T) {
	r := newRun(t)
	to := filepath.Join(t.TempDir(), "copied.db")
	machine := newAlias(t, r.Store)
	copyFiles(t, r.Path, to)
	conn := open(t, uri(to, machine, "adopt=equal"))
	settled(t, to)
	exec(t, r.Conn, "INSERT INTO t VALUES ('old')")
	if err := flush(t.Context(), r.Path); !errors.Is(err, shipper.ErrFenced) {
		t.Errorf("the original got %v", err)
	}
	exec(t, conn, "INSERT INTO t VALUES ('new')")
	settled(t, to)
	conn.Close()
	requireEqual(t, r.Store, to)
	requireIntact(t, r.Store)
}

// A database that may not continue the replica halts at every open.
func TestHaltOutlivesReopening(t *testing.T) {
	changed := func(r *run, path string) {
		shell := open(r.T, "file:"+path)
		exec(r.T, shell, "UPDATE t SET x = 'theirs' WHERE rowid = 400")
		shell.Close()
	}
	for _, test := range []struct {
		name, adopt string
		do          func(r *run, path string)
	}{
		{"a copy", "moved", func(*run, string) {}},
		{"a copy whose first run did not reach the store", "moved", func(r *run, path string) {
			down(r.Store)
			conn := open(r.T, uri(path, r.Store, "close_timeout=1ms"))
			exec(r.T, conn, "INSERT INTO t VALUES ('theirs')")
			conn.Close()
			r.Store.SetBefore(nil)
		}},
		{"a copy that differs", "equal", changed},
		{"moved, and adopt=never", "never", func(r *run, _ string) { removeFiles(r.T, r.Path) }},
		{"moved, and differs", "moved", func(r *run, path string) {
			removeFiles(r.T, r.Path)
			changed(r, path)
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := newRun(t)
			r.Conn.Close()
			to := filepath.Join(t.TempDir(), "copied.db")
			copyFiles(t, r.Path, to)
			tip := lastTXID(t, r.Store)
			test.do(r, to)
			for range 3 {
				conn := open(t, uri(to, r.Store, "close_timeout=1ms", "adopt="+test.adopt))
				exec(t, conn, "INSERT INTO t VALUES ('theirs')")
				if err := flush(t.Context(), to); !errors.Is(err, shipper.ErrDiverged) {
					t.Errorf("got %v", err)
				}
				conn.Close()
			}
			if got := lastTXID(t, r.Store); got != tip {
				t.Errorf("the replica went from %s to %s", tip, got)
			}
		})
	}
}

// A close does not wait for a comparison, and the next open begins it again.
func TestCloseDuringComparison(t *testing.T) {
	r := newRun(t)
	r.Conn.Close()
	to := filepath.Join(t.TempDir(), "moved.db")
	copyFiles(t, r.Path, to)
	removeFiles(t, r.Path)
	first := r.Store.Layout().Key(format.LevelRaw, 1, 1)
	downloading := make(chan struct{})
	var once sync.Once
	r.Store.SetBefore(func(ctx context.Context, op, key string) error {
		if op == "open" && key == first {
			once.Do(func() { close(downloading) })
			<-ctx.Done()
			return ctx.Err()
		}
		return nil
	})
	conn := open(t, uri(to, r.Store, "close_timeout=1ms"))
	<-downloading
	began := time.Now()
	conn.Close()
	if took := time.Since(began); took > 3*time.Second {
		t.Errorf("the close took %s", took)
	}
	r.Store.SetBefore(nil)
	conn = open(t, uri(to, r.Store, "close_timeout=1ms"))
	settled(t, to)
	conn.Close()
	requireEqual(t, r.Store, to)
}
