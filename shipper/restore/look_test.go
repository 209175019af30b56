package restore

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// link makes symbolic links, in order.
func link(t *testing.T, links ...[2]string) {
	t.Helper()
	for _, l := range links {
		if err := os.Symlink(l[1], l[0]); err != nil {
			t.Skip(err)
		}
	}
}

// linked makes a chain of links in dir that leads to vol/data.db: relative and absolute
// links, through a linked directory and back out of it.
func linked(t *testing.T) (dir, target string) {
	t.Helper()
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range []string{"vol", "app", "other/deep"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	link(t,
		[2]string{dir + "/app/app.db", "second.db"},
		[2]string{dir + "/app/second.db", dir + "/app/into/../third.db"}, // other/third.db
		[2]string{dir + "/app/into", "../other/deep"},
		[2]string{dir + "/other/third.db", "../vol/data.db"},
	)
	return dir, filepath.Join(dir, "vol", "data.db")
}

// Look decides by the files at a path, not by the existence of its name.
func TestLook(t *testing.T) {
	for name, c := range map[string]struct {
		files map[string]string // suffixes
		want  Presence
	}{
		"nothing":                 {nil, Missing},
		"a log alone":             {map[string]string{"-wal": "log"}, Missing},
		"an empty file":           {map[string]string{"": ""}, Empty},
		"with an index":           {map[string]string{"": "", "-shm": "index"}, Empty},
		"with a write-ahead log":  {map[string]string{"": "", "-wal": ""}, Present},
		"with a rollback journal": {map[string]string{"": "", "-journal": ""}, Present},
		"a file with content":     {map[string]string{"": "x"}, Present},
	} {
		t.Run(name, func(t *testing.T) {
			dir, target := linked(t)
			for suffix, content := range c.files {
				writeFiles(t, map[string]string{target + suffix: content})
			}
			for _, path := range []string{target, dir + "/app/app.db", dir + "/app/second.db", dir + "/other/third.db"} {
				real, got, err := Look(path)
				if real != target || got != c.want || err != nil {
					t.Errorf("%s is %s, %v, %v; want %s, %v", path, real, got, err, target, c.want)
				}
			}
		})
	}
}

// A file that cannot be a database is an error, and a file that cannot be examined is not
// missing.
func TestLookFails(t *testing.T) {
	dir := t.TempDir()
	link(t, [2]string{dir + "/loop.db", "pool.db"}, [2]string{dir + "/pool.db", "loop.db"}, [2]string{dir + "/to-dir.db", "."})
	writeFiles(t, map[string]string{dir + "/file": "x"})
	for path, want := range map[string]string{
		dir:                "it is a directory",
		dir + "/to-dir.db": "it is a directory",
		os.DevNull:         "it is not a regular file",
		dir + "/loop.db":   "too many levels of symbolic links",
		dir + "/file/x":    "its directory: not a directory",
	} {
		if _, _, err := Look(path); err == nil || !strings.Contains(err.Error(), "look at "+path+": "+want) {
			t.Errorf("%s: error is %v, want %q in it", path, err, want)
		}
	}
	if real, p, err := Look(dir + "/no/app.db"); p != Missing || err != nil || real != dir+"/no/app.db" {
		t.Errorf("%s, %v, %v", real, p, err)
	}
}

// Without a database at the path, Restore need not replace one: a file of 0 bytes, and
// the file that a dangling link leads to. The link stays.
func TestRestoreWhereThereIsNone(t *testing.T) {
	s := smallReplica(t)
	for name, c := range map[string]struct {
		empty, force bool
	}{"dangling": {}, "dangling, forced": {force: true}, "empty": {empty: true}, "empty, forced": {true, true}} {
		t.Run(name, func(t *testing.T) {
			dir, target := linked(t)
			if c.empty {
				if err := errors.Join(os.WriteFile(target, nil, 0o640), os.Chmod(target, 0o640)); err != nil {
					t.Fatal(err)
				}
			}
			if _, err := Restore(t.Context(), s.store, dir+"/app/app.db", Options{Force: c.force}); err != nil {
				t.Fatal(err)
			}
			checkFile(t, target, s.images[smallTip])
			if to, err := os.Readlink(dir + "/app/app.db"); to != "second.db" || err != nil {
				t.Errorf("the link leads to %q, %v", to, err)
			}
			checkNames(t, filepath.Dir(target), "data.db")
			want := fs.FileMode(0o600)
			if c.empty {
				want = 0o640
			}
			if info, err := os.Stat(target); err != nil || info.Mode().Perm() != want {
				t.Errorf("mode is %v, %v", info.Mode(), err)
			}
			if _, err := Restore(t.Context(), s.store, dir+"/app/app.db", Options{}); !errors.Is(err, ErrExists) {
				t.Errorf("error is %v", err)
			}
		})
	}
}

// An empty file that got content during the download is a database.
func TestEmptyNoMore(t *testing.T) {
	s := smallReplica(t)
	target := filepath.Join(t.TempDir(), "app.db")
	writeFiles(t, map[string]string{target: ""})
	late := func(Progress) { writeFiles(t, map[string]string{target: "late"}) }
	if _, err := Restore(t.Context(), s.store, target, Options{Progress: late}); !errors.Is(err, ErrExists) {
		t.Errorf("error is %v", err)
	}
	checkFile(t, target, []byte("late"))
}
