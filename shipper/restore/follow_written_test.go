package restore_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/ncruces/go-sqlite3"

	"github.com/walvfs/walvfs/shipper/restore"
)

// What somebody else wrote to the copy ends it, with the copy as it is.
func TestFollowWritten(t *testing.T) {
	l := newLive(t, 4096)
	l.commit(schema, manyRows(10))
	for name, write := range map[string]string{
		"a row":       "INSERT INTO t VALUES (1)",
		"twice":       "INSERT INTO t VALUES (1); DELETE FROM t WHERE x = 1",
		"WAL mode":    "PRAGMA journal_mode=wal",
		"another one": "",
	} {
		t.Run(name, func(t *testing.T) {
			store := l.store()
			path := filepath.Join(t.TempDir(), "copy.db")
			f := follow(t, store, path, restore.FollowOptions{})
			f.at(tip(t, store))
			if write == "" {
				os.Rename(path, path+".old")
				os.WriteFile(path, masked(t, path+".old"), 0o600)
			} else {
				conn, err := sqlite3.Open("file:" + path)
				if err == nil {
					conn.BusyTimeout(5 * time.Second)
					err = errors.Join(conn.Exec(write), conn.Close())
				}
				if err != nil {
					t.Fatal(err)
				}
			}
			before := masked(t, path)
			l.commit(manyRows(1))
			if err := <-f.done; !errors.Is(err, restore.ErrWritten) {
				t.Fatal(err)
			}
			if string(masked(t, path)) != string(before) {
				t.Error("it was written to nevertheless")
			}
			if err := restore.Follow(t.Context(), store, path, restore.FollowOptions{}); !errors.Is(err, restore.ErrWritten) {
				t.Errorf("once more: %v", err)
			}
			f = follow(t, store, path, restore.FollowOptions{Options: restore.Options{Force: true}})
			f.at(tip(t, store))
			f.stop()
			requireCopy(t, store, path, tip(t, store))
		})
	}
}

// Only one process follows to a path.
func TestFollowTwice(t *testing.T) {
	l := newLive(t, 4096)
	l.commit(schema)
	store := l.store()
	path := filepath.Join(t.TempDir(), "copy.db")
	f := follow(t, store, path, restore.FollowOptions{})
	f.at(1)
	if err := restore.Follow(t.Context(), store, path, restore.FollowOptions{Options: restore.Options{Force: true}}); err == nil {
		t.Error("it followed")
	}
	f.stop()
}
