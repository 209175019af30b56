package file

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"

	"github.com/walvfs/walvfs/shipper/storage"
)

// tempName is the directory of files being written. It is one directory, instead of a
// file next to each object, so that files left by a crash are found without reading the
// levels, and cannot be mistaken for a level's files.
const tempName = ".walvfs-tmp"

// staleAfter is the age at which a temporary file counts as left by a crash. If a writer
// needs longer, its link fails and it tries again.
const staleAfter = 24 * time.Hour

// Create writes an object if none has that key.
func (s *Store) Create(ctx context.Context, key string, body storage.Body, attrs storage.Attrs) error {
	if err := s.create(ctx, key, body, attrs); err != nil {
		return s.fail("create", key, err)
	}
	return nil
}

func (s *Store) create(ctx context.Context, key string, body storage.Body, attrs storage.Attrs) error {
	path, err := s.path(key)
	if err != nil {
		return err
	}
	if err := errors.Join(ctx.Err(), s.checkRoot()); err != nil {
		return err
	}
	// Avoid writing a large body in vain; publish decides.
	if _, err := os.Lstat(path); err == nil {
		return storage.ErrExists
	}
	temp, err := s.writeTemp(ctx, body, attrs.Time)
	if err != nil {
		return err
	}
	defer os.Remove(temp)
	dir := filepath.Dir(path)
	if err := mkdirAll(dir, s.access()); err != nil {
		return err
	}
	if err := attrs.AwaitReady(); err != nil {
		return err
	}
	if err := s.publish(temp, path); err != nil {
		return err
	}
	s.seen.Store(true)
	return syncDir(dir)
}

// publish gives the finished file its name, if the name is free.
func (s *Store) publish(temp, path string) error {
	err := s.link(temp, path)
	if unsupported(err) {
		err = s.rename(temp, path)
	}
	switch {
	case err == nil:
		return nil
	case errors.Is(err, fs.ErrExist):
		// NFS may repeat a request whose answer was lost, and then report that the name exists,
		// although the request itself created it.
		if sameFile(temp, path) {
			return nil
		}
		return storage.ErrExists
	case !unsupported(err):
		return err
	case s.unconditional:
		return replaceAbsent(temp, path)
	}
	return fmt.Errorf("%w: %w", storage.ErrNoCondition, err)
}

// replaceAbsent checks that the name is free and then renames: another writer may create
// it in between.
func replaceAbsent(temp, path string) error {
	if _, err := os.Lstat(path); err == nil {
		return storage.ErrExists
	} else if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return os.Rename(temp, path)
}

func sameFile(a, b string) bool {
	fa, errA := os.Lstat(a)
	fb, errB := os.Lstat(b)
	return errA == nil && errB == nil && os.SameFile(fa, fb)
}

// writeTemp writes a body to a temporary file and syncs it.
func (s *Store) writeTemp(ctx context.Context, body storage.Body, mtime time.Time) (name string, err error) {
	f, err := s.createTemp()
	if err != nil {
		return "", err
	}
	defer func() {
		if err != nil {
			f.Close()
			os.Remove(f.Name())
		}
	}()
	n, err := io.Copy(f, ctxReader{ctx, io.NewSectionReader(body, 0, body.Size())})
	if err != nil {
		return "", err
	}
	if n != body.Size() {
		return "", fmt.Errorf("body ended after %d of %d bytes: %w", n, body.Size(), io.ErrUnexpectedEOF)
	}
	// Before the sync, which also makes the time durable.
	if !mtime.IsZero() {
		if err := os.Chtimes(f.Name(), mtime, mtime); err != nil {
			return "", err
		}
	}
	if err := f.Sync(); err != nil {
		return "", err
	}
	return f.Name(), f.Close()
}

type ctxReader struct {
	ctx context.Context
	r   io.Reader
}

func (r ctxReader) Read(p []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	return r.r.Read(p)
}

// createTemp creates a temporary file. Its name holds its creation time, because its
// mtime will be the object's.
func (s *Store) createTemp() (*os.File, error) {
	s.sweep.Do(func() { s.removeStale(time.Now()) })
	dir, access := s.tempDir(), s.access()
	// Another store's Close may remove the directory between the two steps.
	for try := 0; ; try++ {
		name := fmt.Sprintf("%d-%s", time.Now().Unix(), rand.Text())
		f, err := os.OpenFile(filepath.Join(dir, name), os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
		if err == nil {
			access.give(f, access.fileMode())
		}
		if !errors.Is(err, fs.ErrNotExist) || try == 3 {
			return f, err
		}
		if err := mkdirAll(dir, access); err != nil {
			return nil, err
		}
	}
}

// removeStale removes temporary files that a crash left behind.
func (s *Store) removeStale(now time.Time) {
	entries, _ := os.ReadDir(s.tempDir())
	for _, e := range entries {
		made, _, _ := strings.Cut(e.Name(), "-")
		sec, err := strconv.ParseInt(made, 10, 64)
		if err == nil && now.Sub(time.Unix(sec, 0)) > staleAfter {
			os.Remove(filepath.Join(s.tempDir(), e.Name()))
		}
	}
}

// mkdirAll creates a directory and its parents, and syncs each parent that got a new
// entry: without that, a power loss could remove the directory again.
func mkdirAll(dir string, access access) error {
	if fi, err := os.Stat(dir); err == nil && fi.IsDir() {
		return nil
	}
	parent := filepath.Dir(dir)
	if parent != dir {
		if err := mkdirAll(parent, access); err != nil {
			return err
		}
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		if fi, statErr := os.Stat(dir); statErr == nil && fi.IsDir() {
			return nil // another writer was faster
		}
		return err
	}
	if f, err := openDir(dir); err == nil {
		access.give(f, access.dirMode())
		f.Close()
	}
	return syncDir(parent)
}

func syncDir(dir string) error {
	if runtime.GOOS == "windows" {
		return nil // Windows cannot sync directories
	}
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := f.Sync(); !unsupported(err) {
		return err
	}
	return nil // some network file systems do not support it
}
