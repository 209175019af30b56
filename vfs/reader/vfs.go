package reader

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync"

	"github.com/ncruces/go-sqlite3"
	"github.com/ncruces/go-sqlite3/util/vfsutil"
	"github.com/ncruces/go-sqlite3/vfs"

	"github.com/walvfs/walvfs/vfs/internal/uri"
)

// reader is the VFS. It passes files that are not replicas to the default VFS.
type reader struct {
	name string
	opts Options
}

var _ vfs.VFSFilename = (*reader)(nil)

// Open implements [vfs.VFS]. SQLite calls it for temporary files only, and OpenFilename
// for all others.
func (r *reader) Open(name string, flags vfs.OpenFlag) (vfs.File, vfs.OpenFlag, error) {
	return vfsutil.WrapOpen(vfs.Find(""), name, flags)
}

// OpenFilename implements [vfs.VFSFilename].
func (r *reader) OpenFilename(name *vfs.Filename, flags vfs.OpenFlag) (vfs.File, vfs.OpenFlag, error) {
	if name == nil || flags&vfs.OPEN_MAIN_DB == 0 || flags&vfs.OPEN_MEMORY != 0 {
		return vfsutil.WrapOpenFilename(vfs.Find(""), name, flags)
	}
	ours, err := r.asked(name.URIParameters())
	if err == nil && !ours {
		if err = names.local(name.String()); err == nil {
			return vfsutil.WrapOpenFilename(vfs.Find(""), name, flags)
		}
	}
	if err != nil {
		return nil, flags, cannotOpen(name.String(), err)
	}
	f, err := r.open(name)
	if err != nil {
		return nil, flags, cannotOpen(name.String(), err)
	}
	return f, flags&^(vfs.OPEN_READWRITE|vfs.OPEN_CREATE) | vfs.OPEN_READONLY, nil
}

func (r *reader) open(name *vfs.Filename) (*conn, error) {
	label := name.String()
	cfg := r.opts.settings()
	if err := cfg.apply(name.URIParameters()); err != nil {
		return nil, err
	}
	if err := cfg.locate(label); err != nil {
		return nil, err
	}
	if err := names.take(label); err != nil {
		return nil, err
	}
	s, err := acquire(cfg)
	if err != nil {
		names.leave(label)
		return nil, err
	}
	s.pages.streams.Add(1)
	c := &conn{source: s, name: label, interval: cfg.interval}
	if err := c.move(cfg.target); err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
}

func cannotOpen(name string, err error) error {
	return vfs.SystemError(fmt.Errorf("walvfs: open %s: %w", uri.Shown(filepath.Base(name)), err), sqlite3.CANTOPEN)
}

// Delete implements [vfs.VFS].
func (r *reader) Delete(name string, syncDir bool) error {
	return vfs.Find("").Delete(name, syncDir)
}

// Access implements [vfs.VFS]. A replica has neither a journal nor a WAL, even if a local
// database of the same name has them.
func (r *reader) Access(name string, flags vfs.AccessFlag) (bool, error) {
	for _, suffix := range []string{"-journal", "-wal"} {
		if label, ok := strings.CutSuffix(name, suffix); ok && names.taken(label) {
			return false, nil
		}
	}
	return vfs.Find("").Access(name, flags)
}

// FullPathname implements [vfs.VFS]. The directory of a label need not exist.
func (r *reader) FullPathname(name string) (string, error) {
	full, err := vfs.Find("").FullPathname(name)
	if full == "" && err != nil {
		return filepath.Abs(name)
	}
	return full, err
}

// A labelSet has the names of databases opened through this package. SQLite asks for
// journals by name alone, so a name belongs to a replica or to a local file, never to
// both.
type labelSet struct {
	mu       sync.Mutex
	replicas map[string]int  // number of connections
	files    map[string]bool // since the process began: the VFS does not see them close
}

var names = newLabelSet()

func newLabelSet() *labelSet {
	return &labelSet{replicas: map[string]int{}, files: map[string]bool{}}
}

// take records a connection to a replica.
func (l *labelSet) take(name string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.files[name] {
		return errors.New("a local database of this name was attached (give the replica another name)")
	}
	l.replicas[name]++
	return nil
}

func (l *labelSet) leave(name string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.replicas[name]--; l.replicas[name] == 0 {
		delete(l.replicas, name)
	}
}

func (l *labelSet) taken(name string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.replicas[name] > 0
}

// local records a local database.
func (l *labelSet) local(name string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.replicas[name] > 0 {
		return errors.New("a replica is open by this name (give one of them another name)")
	}
	l.files[name] = true
	return nil
}
