package restore

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/ncruces/go-sqlite3"

	"github.com/walvfs/walvfs/format"
	"github.com/walvfs/walvfs/shipper/restore/internal/disk"
)

// Without Force, Restore replaces nothing, and refuses files that SQLite would apply to
// the restored database.
func TestInTheWay(t *testing.T) {
	for name, want := range map[string]string{
		"app.db":         "app.db: file already exists (to replace the database, force it)",
		"app.db-wal":     "app.db-wal of an older database: file already exists (SQLite would apply it",
		"app.db-shm":     "app.db-shm of an older database",
		"app.db-journal": "app.db-journal of an older database",
	} {
		t.Run(name, func(t *testing.T) {
			s := smallReplica(t)
			dir := t.TempDir()
			writeFiles(t, map[string]string{filepath.Join(dir, name): "old"})
			_, err := Restore(t.Context(), s.store, filepath.Join(dir, "app.db"), Options{})
			if !errors.Is(err, ErrExists) || !strings.Contains(err.Error(), want) {
				t.Errorf("error is %v, want %q in it", err, want)
			}
			checkNames(t, dir, name)
			checkFile(t, filepath.Join(dir, name), []byte("old"))
			if len(s.store.opens) != 0 {
				t.Error("it downloaded before it looked")
			}
		})
	}
}

// Restore also finds files that appear during the download.
func TestInTheWayLater(t *testing.T) {
	for _, name := range []string{"app.db", "app.db-wal"} {
		s := smallReplica(t)
		dir := t.TempDir()
		late := func(p Progress) {
			writeFiles(t, map[string]string{filepath.Join(dir, name): "late"})
		}
		_, err := Restore(t.Context(), s.store, filepath.Join(dir, "app.db"), Options{Progress: late})
		if !errors.Is(err, ErrExists) {
			t.Errorf("error is %v", err)
		}
		checkNames(t, dir, name)
		checkFile(t, filepath.Join(dir, name), []byte("late"))
	}
}

func TestForce(t *testing.T) {
	s := smallReplica(t)
	target := garbage(t)
	if err := os.Chmod(target, 0o640); err != nil {
		t.Fatal(err)
	}
	writeFiles(t, map[string]string{target + "-journal": "old"})
	if _, err := Restore(t.Context(), s.store, target, Options{Force: true}); err != nil {
		t.Fatal(err)
	}
	checkFile(t, target, s.images[smallTip])
	checkNames(t, filepath.Dir(target), "app.db")
	if info, err := os.Stat(target); err != nil || info.Mode().Perm() != 0o640 {
		t.Errorf("mode is %v, %v", info.Mode(), err)
	}
}

// A link to a database stays a link: SQLite's files are next to the real file.
func TestSymlink(t *testing.T) {
	s := smallReplica(t)
	target := garbage(t)
	link := filepath.Join(t.TempDir(), "link.db")
	if err := os.Symlink(target, link); err != nil {
		t.Skip(err)
	}
	if _, err := Restore(t.Context(), s.store, link, Options{}); !errors.Is(err, ErrExists) {
		t.Fatalf("error is %v", err)
	}
	if _, err := Restore(t.Context(), s.store, link, Options{Force: true}); err != nil {
		t.Fatal(err)
	}
	checkNames(t, filepath.Dir(target), "app.db")
	if to, err := os.Readlink(link); err != nil || to != target {
		t.Errorf("the link leads to %q, %v", to, err)
	}
	checkFile(t, link, s.images[smallTip])
}

func TestBadTarget(t *testing.T) {
	dir := t.TempDir()
	writeFiles(t, map[string]string{dir + "/file": ""})
	for target, want := range map[string]string{
		"":                 "the path is empty",
		dir:                "it is a directory",
		dir + "/no/app.db": "its directory: no such file or directory (create it first)",
		dir + "/file/x":    "its directory: not a directory",
	} {
		_, err := Restore(t.Context(), smallReplica(t).store, target, Options{Force: true})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: error is %v, want %q in it", target, err, want)
		}
	}
	checkNames(t, dir, "file")
}

// Restore does not replace a database that a process has open, in WAL mode not even when
// the connection is idle.
func TestInUse(t *testing.T) {
	target := filepath.Join(t.TempDir(), "app.db")
	db, err := sqlite3.Open("file:" + target)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if err := db.Exec(`PRAGMA journal_mode=wal; CREATE TABLE t(x); INSERT INTO t VALUES (1)`); err != nil {
		t.Fatal(err)
	}
	s := smallReplica(t)
	_, err = Restore(t.Context(), s.store, target, Options{Force: true})
	if !errors.Is(err, ErrInUse) || !strings.Contains(err.Error(), "app.db: database is in use") {
		t.Fatalf("error is %v", err)
	}
	if err := db.Exec(`INSERT INTO t VALUES (2)`); err != nil {
		t.Errorf("the database does not work any more: %v", err)
	}
	checkNames(t, filepath.Dir(target), "app.db", "app.db-shm", "app.db-wal")

	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := Restore(t.Context(), s.store, target, Options{Force: true}); err != nil {
		t.Fatal(err)
	}
	checkFile(t, target, s.images[smallTip])
}

// Restore notices an application that starts during the download.
func TestInUseLater(t *testing.T) {
	target := filepath.Join(t.TempDir(), "app.db")
	open := func() *sqlite3.Conn {
		db, err := sqlite3.Open("file:" + target)
		if err == nil {
			err = db.Exec(`PRAGMA journal_mode=wal; CREATE TABLE IF NOT EXISTS t(x)`)
		}
		if err != nil {
			t.Fatal(err)
		}
		return db
	}
	open().Close()
	var db *sqlite3.Conn
	_, err := Restore(t.Context(), smallReplica(t).store, target, Options{Force: true, Progress: func(p Progress) {
		if p.Files == 1 {
			db = open()
		}
	}})
	defer db.Close()
	if !errors.Is(err, ErrInUse) {
		t.Fatalf("error is %v", err)
	}
	if err := db.Exec(`INSERT INTO t VALUES (2)`); err != nil {
		t.Errorf("the database does not work any more: %v", err)
	}
	checkNames(t, filepath.Dir(target), "app.db", "app.db-shm", "app.db-wal")
}

// Of two restores to one path, one succeeds, and the other returns an error.
func TestTwoRestores(t *testing.T) {
	s := smallReplica(t)
	target := filepath.Join(t.TempDir(), "app.db")
	var second error
	_, err := Restore(t.Context(), s.store, target, Options{Progress: func(p Progress) {
		if p.Files == 1 {
			_, second = Restore(t.Context(), s.store, target, Options{})
		}
	}})
	if err != nil {
		t.Fatal(err)
	}
	if second == nil || !strings.Contains(second.Error(), "another restore to this path is running") {
		t.Errorf("the second's error is %v", second)
	}
	checkFile(t, target, s.images[smallTip])
	checkNames(t, filepath.Dir(target), "app.db")
}

// Restore takes over the files that a crashed restore left behind.
func TestAfterCrash(t *testing.T) {
	s := smallReplica(t)
	target := filepath.Join(t.TempDir(), "app.db")
	writeFiles(t, map[string]string{target + tempSuffix: strings.Repeat("junk", 10000)})
	if _, err := Restore(t.Context(), s.store, target, Options{}); err != nil {
		t.Fatal(err)
	}
	checkFile(t, target, s.images[smallTip])
	checkNames(t, filepath.Dir(target), "app.db")
}

// The final rename replaces nothing, not even a file created since the last check.
func TestRenameReplacesNothing(t *testing.T) {
	for name, rename := range map[string]func(from, to string) error{"system": disk.RenameNew, "checked": disk.CheckedRename} {
		dir := t.TempDir()
		from, to := filepath.Join(dir, "from"), filepath.Join(dir, "to")
		writeFiles(t, map[string]string{from: "new", to: "old"})
		if err := rename(from, to); !errors.Is(err, ErrExists) {
			t.Errorf("%s: error is %v", name, err)
		}
		checkFile(t, to, []byte("old"))
		if err := os.Remove(to); err != nil {
			t.Fatal(err)
		}
		if err := rename(from, to); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		checkNames(t, dir, "to")
	}
}

// Restore fails in a read-only directory.
func TestReadOnlyDirectory(t *testing.T) {
	if runtime.GOOS == "windows" || os.Getuid() == 0 {
		t.Skip("everything may be written to")
	}
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o500); err != nil {
		t.Fatal(err)
	}
	_, err := Restore(context.Background(), smallReplica(t).store, dir+"/app.db", Options{TXID: format.TXID(1)})
	if !errors.Is(err, os.ErrPermission) {
		t.Errorf("error is %v", err)
	}
}
