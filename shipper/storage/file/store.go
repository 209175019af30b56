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
// An object appears complete or not at all, and durably: the store writes a temporary
// file, syncs it, gives it its name by link(2), which fails if the name exists, and syncs
// its directory. Without hard links, as on exFAT, the store renames the file by a system
// call that fails if the name exists. Some FUSE and network file systems have neither:
// they need [storage.Options.Unconditional], fencing=off, which checks that the name is
// free and then renames. If two writers do so at the same moment, the second replaces the
// object of the first, and neither notices.
//
// The first object creates the directory. If the directory disappears later, for example
// because its disk was unmounted, operations fail with [storage.ErrNoBucket] until it is
// back: the store does not treat the replica as empty, nor start a new one below the
// mount point. That needs a directory on the disk: a mount point, as in
// file:///mnt/backup, exists with and without its disk, while /mnt/backup/app does not. A
// process that starts without the disk cannot detect that; make the system mount the disk
// first, by RequiresMountsFor= in systemd.
//
// Objects have mode 0600 and directories 0700. If the replica's directory is shared with
// its group on purpose (it is setgid, or the group may do more than others), the group
// gets the same permissions on everything in it as on the directory. Files and directories
// that root creates belong to the directory's owner.
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

	// link and rename give a file another name unless that name exists. They are os.Link and
	// renameNew, except in tests.
	link, rename func(oldname, newname string) error

	unconditional bool

	seen  atomic.Bool // the directory has existed
	sweep sync.Once   // removes files left by crashes, before the first write
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
		err = storage.ErrNotExist // a directory is not an object
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

// Layout returns Litestream's layout for files.
func (s *Store) Layout() format.Layout { return format.LayoutDecimal }

// String returns the replica's URL.
func (s *Store) String() string { return s.url }

// Place returns the directory's path without symbolic links, as far as it exists.
func (s *Store) Place() string {
	dir, rest := s.existing()
	if real, err := filepath.EvalSymlinks(dir); err == nil {
		return "file:" + filepath.Join(real, rest)
	}
	return "file:" + s.root
}

// Bucket returns the file system.
func (s *Store) Bucket() string {
	dir, _ := s.existing()
	return "file:" + fileSystem(dir)
}

// existing splits the directory's path into the existing part and the rest.
func (s *Store) existing() (dir, rest string) {
	for dir = s.root; ; dir, rest = filepath.Dir(dir), filepath.Join(filepath.Base(dir), rest) {
		if _, err := os.Stat(dir); err == nil || dir == filepath.Dir(dir) {
			return dir, rest
		}
	}
}

// Close removes the directory of temporary files if it is empty.
func (s *Store) Close() error {
	os.Remove(s.tempDir())
	return nil
}

func (s *Store) tempDir() string { return filepath.Join(s.root, tempName) }

// path returns the path of a key's object. A valid key stays below the root, has one
// spelling and is not a temporary file of the store.
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
