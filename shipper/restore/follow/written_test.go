package follow_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/ncruces/go-sqlite3"

	"github.com/walvfs/walvfs/shipper/restore"
	"github.com/walvfs/walvfs/shipper/restore/follow"
)

// If another program writes to the copy, the follower stops and leaves the copy
// unchanged.
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
			f := runFollow(t, store, path, follow.Options{})
			f.At(tip(t, store))
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
			if err := <-f.Done; !errors.Is(err, follow.ErrWritten) {
				t.Fatal(err)
			}
			if string(masked(t, path)) != string(before) {
				t.Error("it was written to nevertheless")
			}
			if err := follow.Run(t.Context(), store, path, follow.Options{}); !errors.Is(err, follow.ErrWritten) {
				t.Errorf("once more: %v", err)
			}
			f = runFollow(t, store, path, follow.Options{Options: restore.Options{Force: true}})
			f.At(tip(t, store))
			f.Stop()
			requireCopy(t, store, path, tip(t, store))
		})
	}
}

// Only one process at a time follows to a path.
func TestFollowTwice(t *testing.T) {
	l := newLive(t, 4096)
	l.commit(schema)
	store := l.store()
	path := filepath.Join(t.TempDir(), "copy.db")
	f := runFollow(t, store, path, follow.Options{})
	f.At(1)
	if err := follow.Run(t.Context(), store, path, follow.Options{Options: restore.Options{Force: true}}); err == nil {
		t.Error("it followed")
	}
	f.Stop()
}
