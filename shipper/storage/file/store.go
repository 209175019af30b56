// Package file keeps a replica in a directory: a mounted disk, a network file
// system, or a test's temporary directory. Import it for its side effect:
//
//	import _ "github.com/walvfs/walvfs/shipper/storage/file"
//
// URLs are file:///directory, with an absolute path. Keys are paths below it:
//
//	<directory>/ltx/0/0000000000000001-0000000000000001.ltx
//	<directory>/.walvfs-tmp/...       files being written; never listed
//
// An object appears whole or not at all, and for good: it is written beside its
// place, synced, given its name by link(2), which fails if the name is taken,
// and its directory is synced. Without hard links, as on exFAT, it is renamed by a
// system call that fails if the name is taken. Some FUSE and network file systems have
// neither: there, only [storage.Options.Unconditional], fencing=off, looks whether the
// name is free and then renames, so that of two writers at the same moment the second
// replaces the object of the first, and neither is told.
//
// The first object creates the directory. If it was there and is gone, as when its disk
// was unmounted, operations fail with [storage.ErrNoBucket] until it is back: the
// replica is not taken for empty, nor begun again below the mount point. That needs a
// directory on the disk: a mount point, as in file:///mnt/backup, is there with and
// without its disk, while /mnt/backup/app is not. A process that starts without the disk
// cannot know; let the system mount it first, by RequiresMountsFor= in systemd.
//
// Objects have mode 0600 and directories 0700. If the replica's directory is shared with
// its group on purpose (it is setgid, or the group may do more than others), the group
// may do with all that is in it what it may do with the directory. What root creates
// belongs to the directory's owner.
//
// A key cannot be both an object and a directory of others.
package file

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/walvfs/walvfs/format"
	"github.com/walvfs/walvfs/shipper/storage"
	"github.com/walvfs/walvfs/shipper/storage/internal/driver"
)

// Store is a replica in a directory.
type Store struct {
	root string // absolute, in the operating system's spelling
	url  string

	// link and rename give a file another name unless that is taken. They are
	// os.Link and renameNew, but for tests.
	link, rename func(oldname, newname string) error

	unconditional bool

	seen  atomic.Bool // the directory was there
	sweep sync.Once   // of what crashes left behind, before the first write
}

var (
	_ storage.Store    = (*Store)(nil)
	_ storage.Placer   = (*Store)(nil)
	_ storage.Bucketer = (*Store)(nil)
)

func init() {
	storage.Register("file", func(_ context.Context, u *url.URL, opts storage.Options) (storage.Store, error) {
		return Open(u, opts)
	})
}

// Open opens the store of a file URL. The directory need not exist: the first
// object creates it.
func Open(u *url.URL, opts storage.Options) (*Store, error) {
	if u.Host != "" && u.Host != "localhost" {
		return nil, fmt.Errorf("storage: file://%s%s: the path must be absolute (write three slashes: file:///%s%s)", u.Host, u.Path, u.Host, u.Path)
	}
	if u.Opaque != "" || !strings.HasPrefix(u.Path, "/") {
		return nil, fmt.Errorf("storage: file:%s: the path must be absolute (write three slashes: file:///directory)", u.Opaque)
	}
	if err := errors.Join(driver.CheckURL(u), driver.NoSettings(opts)); err != nil {
		return nil, fmt.Errorf("storage: file://%s: %w", u.Path, err)
	}
	path := u.Path
	if runtime.GOOS == "windows" {
		path = strings.TrimPrefix(path, "/") // file:///C:/directory
	}
	clean := (&url.URL{Scheme: "file", Path: filepath.ToSlash(filepath.Clean("/" + u.Path))}).String()
	return &Store{
		root: filepath.Clean(filepath.FromSlash(path)),
		url:  clean,
		link: os.Link, rename: renameNew,
		unconditional: opts.Unconditional,
	}, nil
}

// Open reads a range of an object.
func (s *Store) Open(ctx context.Context, key string, offset, length int64) (io.ReadCloser, storage.Attrs, error) {
	r, attrs, err := s.open(ctx, key, offset, length)
	if err != nil {
		return nil, storage.Attrs{}, s.fail("open", key, err)
	}
	return r, attrs, nil
}

func (s *Store) open(ctx context.Context, key string, offset, length int64) (io.ReadCloser, storage.Attrs, error) {
	path, err := s.path(key)
	if err != nil {
		return nil, storage.Attrs{}, err
	}
	if err := errors.Join(ctx.Err(), driver.CheckRange(offset), s.checkRoot()); err != nil {
		return nil, storage.Attrs{}, err
	}
	f, err := os.Open(path)
	if s.absent(err) {
		return nil, storage.Attrs{}, storage.ErrNotExist
	}
	if err != nil {
		return nil, storage.Attrs{}, err
	}
	fi, err := f.Stat()
	if err == nil && !fi.Mode().IsRegular() {
		err = storage.ErrNotExist // a directory is no object
	}
	if err != nil {
		f.Close()
		return nil, storage.Attrs{}, err
	}
	n := max(fi.Size()-offset, 0)
	if length >= 0 {
		n = min(n, length)
	}
	r := &reader{io.NewSectionReader(f, offset, n), f}
	return r, storage.Attrs{Time: fi.ModTime().UTC()}, nil
}

type reader struct {
	*io.SectionReader
	io.Closer
}

// Delete removes objects.
func (s *Store) Delete(ctx context.Context, keys ...string) error {
	if err := s.checkRoot(); err != nil {
		return s.fail("delete", "", err)
	}
	for _, key := range keys {
		path, err := s.path(key)
		if err == nil {
			err = ctx.Err()
		}
		if err == nil {
			err = os.Remove(path)
		}
		if err != nil && !s.absent(err) {
			return s.fail("delete", key, err)
		}
	}
	return nil
}

// Layout is Litestream's for files.
func (s *Store) Layout() format.Layout { return format.LayoutDecimal }

// String returns the replica's URL.
func (s *Store) String() string { return s.url }

// Place is the directory's path without symbolic links, as far as it exists.
func (s *Store) Place() string {
	dir, rest := s.existing()
	if real, err := filepath.EvalSymlinks(dir); err == nil {
		return "file:" + filepath.Join(real, rest)
	}
	return "file:" + s.root
}

// Bucket is the file system.
func (s *Store) Bucket() string {
	dir, _ := s.existing()
	return "file:" + fileSystem(dir)
}

// existing splits the directory's path into what exists and what does not.
func (s *Store) existing() (dir, rest string) {
	for dir = s.root; ; dir, rest = filepath.Dir(dir), filepath.Join(filepath.Base(dir), rest) {
		if _, err := os.Stat(dir); err == nil || dir == filepath.Dir(dir) {
			return dir, rest
		}
	}
}

// Close removes the directory of temporary files if nothing is left in it.
func (s *Store) Close() error {
	os.Remove(s.tempDir())
	return nil
}

func (s *Store) tempDir() string { return filepath.Join(s.root, tempName) }

// path returns where a key's object is. Only keys that stay below the root,
// have one spelling and are not our own temporary files are keys.
func (s *Store) path(key string) (string, error) {
	local := filepath.FromSlash(key)
	switch {
	case key == "." || !fs.ValidPath(key) || !filepath.IsLocal(local) || strings.ContainsRune(key, 0),
		runtime.GOOS == "windows" && strings.Contains(key, `\`):
		return "", fmt.Errorf("not a valid key")
	case key == tempName || strings.HasPrefix(key, tempName+"/"):
		return "", fmt.Errorf("not a valid key: %s is for temporary files", tempName)
	}
	return filepath.Join(s.root, local), nil
}
