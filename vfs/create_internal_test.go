package vfs

import (
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ncruces/go-sqlite3"
	"github.com/ncruces/go-sqlite3/vfs"
)

// lockedFile is a file that is open through a VFS. It takes locks up to a level.
type lockedFile struct {
	vfs.File
	file *os.File
	most vfs.LockLevel
}

func (f lockedFile) Stat() (os.FileInfo, error) { return f.file.Stat() }
func (f lockedFile) Size() (int64, error)       { info, err := f.file.Stat(); return info.Size(), err }
func (f lockedFile) Lock(level vfs.LockLevel) error {
	if level > f.most {
		return sqlite3.BUSY
	}
	return nil
}

// Only an empty file that nobody else can have is removed.
func TestUncreate(t *testing.T) {
	for name, test := range map[string]struct {
		most    vfs.LockLevel
		prepare func(t *testing.T, path string, r *registry, id fileID)
		removed bool
	}{
		"empty":              {most: vfs.LOCK_EXCLUSIVE, removed: true},
		"locked by a reader": {most: vfs.LOCK_RESERVED},
		"locked by a writer": {most: vfs.LOCK_SHARED},
		"not empty": {most: vfs.LOCK_EXCLUSIVE, prepare: func(t *testing.T, path string, _ *registry, _ fileID) {
			if err := os.WriteFile(path, []byte("x"), 0o600); err != nil {
				t.Fatal(err)
			}
		}},
		"replaced": {most: vfs.LOCK_EXCLUSIVE, prepare: func(t *testing.T, path string, _ *registry, _ fileID) {
			other := path + ".other"
			if err := os.WriteFile(other, nil, 0o600); err != nil {
				t.Fatal(err)
			}
			if err := os.Rename(other, path); err != nil {
				t.Fatal(err)
			}
		}},
		"open in this process": {most: vfs.LOCK_EXCLUSIVE, prepare: func(_ *testing.T, _ string, r *registry, id fileID) {
			r.byFile[id] = &database{}
		}},
		"being opened in this process": {most: vfs.LOCK_EXCLUSIVE, prepare: func(_ *testing.T, _ string, r *registry, id fileID) {
			r.opening[id] = make(chan struct{})
		}},
		"replicated by another process": {most: vfs.LOCK_EXCLUSIVE, prepare: func(t *testing.T, path string, _ *registry, _ fileID) {
			lock, err := lockDatabase(path)
			if lock == nil {
				t.Skip(err)
			}
			t.Cleanup(func() { lock.Close() })
		}},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "app.db")
			file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
			if err != nil {
				t.Fatal(err)
			}
			defer file.Close()
			f := lockedFile{file: file, most: test.most}
			id, err := identify(path, f)
			if err != nil {
				t.Fatal(err)
			}
			r := registry{byPath: map[string]*database{}, byFile: map[fileID]*database{}, opening: map[fileID]chan struct{}{}}
			if test.prepare != nil {
				test.prepare(t, path, &r, id)
			}
			r.uncreate(path, f)
			if _, err := os.Stat(path); (err != nil) != test.removed {
				t.Errorf("after it: %v", err)
			}
		})
	}
}

// Each parameter is documented, with its default, for those who read Go and for those
// who read the README.
func TestParametersAreDocumented(t *testing.T) {
	for file, format := range map[string]string{"api.go": "//\t%s=", "../README.md": "| `%s` |"} {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range parameters {
			if !strings.Contains(string(text), fmt.Sprintf(format, p.name)) {
				t.Errorf("%s lacks %s", file, p.name)
			}
		}
	}
}

// The name of a choice is its value in a URI.
func TestAdopt(t *testing.T) {
	for _, adopt := range []Adopt{AdoptMoved, AdoptEqual, AdoptNever} {
		s := settings{adopt: -1}
		if err := s.apply(url.Values{"adopt": {adopt.String()}}); err != nil || s.adopt != adopt {
			t.Errorf("%s: %v, %v", adopt, s.adopt, err)
		}
	}
}
