package vfs_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/walvfs/walvfs/format"
	"github.com/walvfs/walvfs/internal/statefile"
)

// A replacedDB is a database that is about to be replaced, and its replica. Both can be
// restored.
type replacedDB struct {
	t       *testing.T
	dir     string // of the database and the replica
	path    string
	replica string // its directory
	restore string // the parameter, "" to force a restore

	old, want []string // rows, nil if there is no database
	files     map[string]savedFile
	objects   map[string]bool
}

func newReplaced(t *testing.T, restoring string) *replacedDB {
	dir := t.TempDir()
	r := &replacedDB{t: t, dir: dir, replica: filepath.Join(dir, "replica"), path: filepath.Join(dir, "data", "app.db"), restore: restoring}
	if err := os.Mkdir(filepath.Dir(r.path), 0o700); err != nil {
		t.Fatal(err)
	}
	conn := open(t, r.uri())
	exec(t, conn, "PRAGMA page_size=512", "CREATE TABLE t (x)", "INSERT INTO t VALUES ('first'), (randomblob(3000))")
	settled(t, r.path)
	exec(t, conn, "INSERT INTO t VALUES ('second')")
	settled(t, r.path)
	if err := conn.Close(); err != nil {
		t.Fatal(err)
	}
	r.want = rowsOf(t, r.path)
	r.old = r.want
	return r
}

func (r *replacedDB) url() replicaURL { return replicaURL("file://" + r.replica) }

func (r *replacedDB) uri(params ...string) string {
	return uri(r.path, r.url(), append(params, "close_timeout=20s")...)
}

// othersGoOn makes another machine continue the replica.
func (r *replacedDB) othersGoOn() {
	r.t.Helper()
	path := filepath.Join(r.t.TempDir(), "rival.db")
	conn := open(r.t, uri(path, r.url(), "restore=if-missing"))
	exec(r.t, conn, "INSERT INTO t VALUES ('rival')")
	settled(r.t, path)
	conn.Close()
	r.want = rowsOf(r.t, path)
}

// crash runs statements through a connection, and the process dies before it closes.
func (r *replacedDB) crash(uri string, sql ...string) disk {
	r.t.Helper()
	conn := open(r.t, uri)
	exec(r.t, conn, sql...)
	if strings.Contains(uri, "replicated") {
		settled(r.t, r.path)
	}
	d := save(r.t, r.path)
	conn.Close()
	d.Write(r.t, r.path)
	return d
}

// replacements are databases to replace, by name.
var replacements = map[string]func(t *testing.T) *replacedDB{
	"missing": func(t *testing.T) *replacedDB {
		r := newReplaced(t, "if-missing")
		removeFiles(t, r.path)
		r.old = nil
		return r
	},
	"empty": func(t *testing.T) *replacedDB {
		r := newReplaced(t, "if-missing")
		removeFiles(t, r.path)
		if err := os.WriteFile(r.path, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		r.old = nil
		return r
	},
	"behind": func(t *testing.T) *replacedDB {
		r := newReplaced(t, "if-behind")
		r.othersGoOn()
		return r
	},
	"behind, with a WAL": func(t *testing.T) *replacedDB {
		r := newReplaced(t, "if-behind")
		r.crash(r.uri(), "INSERT INTO t VALUES ('third')")
		r.old = rowsOf(t, r.path)
		r.othersGoOn()
		return r
	},
	"the disk lost a commit": func(t *testing.T) *replacedDB {
		r := newReplaced(t, "if-behind")
		r.crash(r.uri(), "INSERT INTO t VALUES ('third')")
		r.want = rowsOf(t, r.path)
		wal, err := os.Stat(r.path + "-wal")
		if err == nil {
			err = os.Truncate(r.path+"-wal", wal.Size()-512-format.FrameHeaderSize)
		}
		if err != nil {
			t.Fatal(err)
		}
		return r
	},
	"forced, with a commit of its own": func(t *testing.T) *replacedDB {
		r := newReplaced(t, "")
		plain := open(t, "file:"+r.path)
		exec(t, plain, "INSERT INTO t VALUES ('mine')")
		plain.Close()
		r.old = rowsOf(t, r.path)
		return r
	},
	"forced, with a WAL of its own": func(t *testing.T) *replacedDB {
		r := newReplaced(t, "")
		r.crash("file:"+r.path, "INSERT INTO t VALUES ('mine')")
		r.old = rowsOf(t, r.path)
		return r
	},
}

// save saves the files of the database and the replica.
func (r *replacedDB) save() {
	r.t.Helper()
	r.files, r.objects = map[string]savedFile{}, map[string]bool{}
	for _, suffix := range []string{"", "-wal", statefile.Suffix} {
		content, err := os.ReadFile(r.path + suffix)
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		info, statErr := os.Stat(r.path + suffix)
		if err = errors.Join(err, statErr); err != nil {
			r.t.Fatal(err)
		}
		r.files[suffix] = savedFile{content, info.ModTime()}
	}
	if _, ok := r.files[""]; ok {
		if err := os.Link(r.path, r.inode()); err != nil {
			r.t.Fatal(err)
		}
	}
	for _, name := range r.objectNames() {
		r.objects[name] = true
	}
}

// inode is a second name of the database file, which putBack uses.
func (r *replacedDB) inode() string { return filepath.Join(r.dir, "inode") }

func (r *replacedDB) objectNames() (names []string) {
	err := filepath.WalkDir(r.replica, func(name string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			names = append(names, name)
		}
		return err
	})
	if err != nil {
		r.t.Fatal(err)
	}
	return names
}

// putBack restores everything that save saved, including the database's inode and the
// times of its files.
func (r *replacedDB) putBack() {
	r.t.Helper()
	var errs []error
	for _, name := range r.names() {
		errs = append(errs, os.Remove(filepath.Join(filepath.Dir(r.path), name)))
	}
	if _, ok := r.files[""]; ok {
		errs = append(errs, os.Link(r.inode(), r.path))
	}
	for suffix, file := range r.files {
		errs = append(errs, os.WriteFile(r.path+suffix, file.content, 0o600), os.Chtimes(r.path+suffix, time.Time{}, file.time))
	}
	for _, name := range r.objectNames() {
		if !r.objects[name] {
			errs = append(errs, os.Remove(name))
		}
	}
	if err := errors.Join(errs...); err != nil {
		r.t.Fatal(err)
	}
}

// names returns the names of the files in the database's directory.
func (r *replacedDB) names() (names []string) {
	entries, err := os.ReadDir(filepath.Dir(r.path))
	if err != nil {
		r.t.Fatal(err)
	}
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}
