package file

import (
	"context"
	"errors"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/walvfs/walvfs/shipper/storage"
)

// List yields objects in the order of their keys. It reads one directory at a time, and
// only directories that can hold a requested key.
func (s *Store) List(ctx context.Context, prefix, startAfter string) iter.Seq2[storage.Object, error] {
	return func(yield func(storage.Object, error) bool) {
		if err := s.checkRoot(); err != nil {
			yield(storage.Object{}, s.fail("list", prefix, err))
			return
		}
		w := walk{ctx, s.root, prefix, startAfter, yield}
		// The directory of the prefix, but only if it is below the root.
		dir := prefix[:strings.LastIndex(prefix, "/")+1]
		if dir != "" && (!fs.ValidPath(strings.TrimSuffix(dir, "/")) || strings.HasPrefix(dir, tempName+"/")) {
			return
		}
		if _, err := w.dir(dir); err != nil && !s.absent(err) {
			yield(storage.Object{}, s.fail("list", prefix, err))
		}
	}
}

type walk struct {
	ctx        context.Context
	root       string
	prefix     string
	startAfter string
	yield      func(storage.Object, error) bool
}

// dir yields the objects below a directory, which ends in a slash or is empty for the
// root. It reports whether the caller wants more objects.
func (w *walk) dir(dir string) (more bool, err error) {
	entries, err := os.ReadDir(filepath.Join(w.root, filepath.FromSlash(dir)))
	if errors.Is(err, fs.ErrNotExist) {
		return true, nil
	}
	if err != nil {
		return false, err
	}
	// Names come sorted, but keys sort with the slash that follows a
	// directory's name: "a.b" is before "a/b" although "a" is before "a.b".
	slices.SortFunc(entries, func(a, b fs.DirEntry) int {
		return strings.Compare(entryKey(a), entryKey(b))
	})
	for _, e := range entries {
		more, err := w.entry(dir+entryKey(e), e)
		if !more || err != nil {
			return more, err
		}
	}
	return true, nil
}

func entryKey(e fs.DirEntry) string {
	if e.IsDir() {
		return e.Name() + "/"
	}
	return e.Name()
}

func (w *walk) entry(key string, e fs.DirEntry) (more bool, err error) {
	if err := w.ctx.Err(); err != nil {
		return false, err
	}
	if e.IsDir() {
		if key == tempName+"/" || !w.mayHold(key) {
			return true, nil
		}
		return w.dir(key)
	}
	if !strings.HasPrefix(key, w.prefix) || key <= w.startAfter {
		return true, nil
	}
	fi, err := e.Info()
	if errors.Is(err, fs.ErrNotExist) {
		return true, nil // deleted meanwhile
	}
	if err != nil {
		return false, err
	}
	if !fi.Mode().IsRegular() {
		return true, nil
	}
	return w.yield(storage.Object{Key: key, Size: fi.Size(), ModTime: fi.ModTime().UTC()}, nil), nil
}

// mayHold reports whether the request may include a key below the directory.
func (w *walk) mayHold(dir string) bool {
	inPrefix := strings.HasPrefix(dir, w.prefix) || strings.HasPrefix(w.prefix, dir)
	behind := dir < w.startAfter && !strings.HasPrefix(w.startAfter, dir)
	return inPrefix && !behind
}
