package vfs_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/ncruces/go-sqlite3"
	"github.com/ncruces/go-sqlite3/util/vfsutil"
	sqlitevfs "github.com/ncruces/go-sqlite3/vfs"

	"github.com/walvfs/walvfs/internal/statefile"
	"github.com/walvfs/walvfs/vfs"
)

// Every file that SQLite and replication create next to a database has the database's
// mode and, if root opens it, the owner and group, from the moment that the name appears:
// a killed process leaves no file that locks the application out.
func TestFilesAreLikeTheDatabase(t *testing.T) {
	for _, mode := range []os.FileMode{0o600, 0o660} {
		t.Run(fmt.Sprintf("%o", mode), func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "app.db")
			if err := os.WriteFile(path, nil, 0o600); err != nil {
				t.Fatal(err)
			}
			want := beOfAnother(t, path, mode)
			store, seen := newReplica(t), &seenVFS{VFS: sqlitevfs.Find("")}
			name := fmt.Sprintf("seen-%o", mode)
			sqlitevfs.Register(name, seen)
			vfs.Register("replicated-"+name, vfs.Options{Base: name})
			conn := open(t, strings.Replace(uri(path, store), "vfs=replicated&", "vfs=replicated-"+name+"&", 1))
			exec(t, conn, "CREATE TABLE t (x)") // its first page uses a rollback journal
			settled(t, path)
			for _, suffix := range []string{"-journal", "-wal"} {
				if got, ok := seen.before.Load(path + suffix); !ok || got != want {
					t.Errorf("%s: %v when SQLite opens it, want %s", suffix, got, want)
				}
			}
			for _, suffix := range []string{"-wal", "-shm", statefile.Suffix} {
				if got := ownedBy(path + suffix); got != want {
					t.Errorf("%s: %s, want %s", suffix, got, want)
				}
			}
			conn.Close()
		})
	}
}

// seenVFS records the mode and owner of WALs and journals before SQLite first opens them.
type seenVFS struct {
	sqlitevfs.VFS
	before sync.Map // by name
}

func (v *seenVFS) OpenFilename(name *sqlitevfs.Filename, flags sqlitevfs.OpenFlag) (sqlitevfs.File, sqlitevfs.OpenFlag, error) {
	if flags&(sqlitevfs.OPEN_WAL|sqlitevfs.OPEN_MAIN_JOURNAL) != 0 {
		v.before.LoadOrStore(name.String(), ownedBy(name.String()))
	}
	return vfsutil.WrapOpenFilename(v.VFS, name, flags)
}

// beOfAnother sets the mode of a file and, as root, the owner. It returns both.
func beOfAnother(t *testing.T, path string, mode os.FileMode) string {
	t.Helper()
	err := os.Chmod(path, mode)
	if os.Geteuid() == 0 {
		err = errors.Join(err, os.Chown(path, 4711, 4712))
	}
	if err != nil {
		t.Fatal(err)
	}
	return ownedBy(path)
}

// ownedBy returns the mode, owner and group of a file.
func ownedBy(path string) string {
	info, err := os.Lstat(path)
	if err != nil {
		return err.Error()
	}
	stat := info.Sys().(*syscall.Stat_t)
	return fmt.Sprintf("%o %d %d", info.Mode(), stat.Uid, stat.Gid)
}

// A connection that only reads needs no replica, and leaves no file that belongs to
// another user than the database.
func TestReadOnlyConnectionLeavesFilesLikeTheDatabase(t *testing.T) {
	path := filepath.Join(t.TempDir(), "app.db")
	plain := open(t, "file:"+path)
	exec(t, plain, "PRAGMA journal_mode=wal", "CREATE TABLE t (x)")
	want := beOfAnother(t, path, 0o600)
	if _, err := plain.FileControl("main", sqlite3.FCNTL_PERSIST_WAL, true); err != nil {
		t.Fatal(err)
	}
	plain.Close()
	for _, suffix := range []string{"-wal", "-shm"} {
		os.Remove(path + suffix)
	}
	conn := open(t, "file:"+path+"?vfs=replicated&mode=ro")
	exec(t, conn, "SELECT * FROM t")
	for _, suffix := range []string{"-wal", "-shm"} {
		if got := ownedBy(path + suffix); got != want {
			t.Errorf("%s: %s, want %s", suffix, got, want)
		}
	}
	conn.Close()
}
