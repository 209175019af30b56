package restore

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// tempSuffix makes the name of a database under construction. One name for
// each target, so that a crashed restore leaves one file at most, which the
// next one takes over.
const tempSuffix = "-walvfs-restore"

// besides are the files that SQLite takes for part of a database.
// See https://sqlite.org/tempfiles.html.
var besides = []string{"-wal", "-journal", "-shm"}

// place is where a database is restored to.
type place struct {
	path  string
	force bool
	keep  string
	hooks hooks
}

// openPlace checks that a database may be restored to a path.
func openPlace(target string, opts Options) (*place, error) {
	if target == "" {
		return nil, &Error{Op: "restore to", Name: `""`, Err: errors.New("the path is empty")}
	}
	// SQLite resolves symbolic links, and has its files beside the real one.
	if real, err := filepath.EvalSymlinks(target); err == nil {
		target = real
	}
	p := &place{path: target, force: opts.Force, keep: opts.Keep, hooks: opts.hooks}
	if err := p.recover(); err != nil {
		return nil, err
	}
	if err := p.check(); err != nil {
		return nil, err
	}
	lock, err := p.lockOld()
	if err != nil {
		return nil, err
	}
	lock.Close() // only a test: the application goes on while we download
	return p, nil
}

// check finds what is in the way.
func (p *place) check() error {
	dir, err := os.Stat(filepath.Dir(p.path))
	if err == nil && !dir.IsDir() {
		err = errors.New("not a directory")
	}
	if err != nil {
		return &Error{"restore to", p.path, fmt.Errorf("its directory: %w", pathless(err)), "create it first"}
	}
	info, err := os.Lstat(p.path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return p.checkBesides()
	case err != nil:
		return &Error{"restore to", p.path, pathless(err), ""}
	case info.IsDir():
		return &Error{"restore to", p.path, errors.New("it is a directory"), "name the database's file"}
	case !p.force:
		return &Error{"restore to", p.path, ErrExists, "to replace the database, force it"}
	}
	return nil
}

// checkBesides finds files that SQLite would apply to the restored database.
func (p *place) checkBesides() error {
	if p.force {
		return nil
	}
	for _, suffix := range besides {
		if exists(p.path + suffix) {
			return &Error{"restore to", p.path,
				fmt.Errorf("%s of an older database: %w", p.path+suffix, ErrExists),
				"SQLite would apply it to the restored database: move it away, or force its removal"}
		}
	}
	return nil
}

// lockOld locks the old database, if there is one, as a SQLite writer in
// rollback mode would: it fails if any connection reads or has a write-ahead
// log open, and none can while it is held.
//
// Closing the file drops the process's POSIX locks on it: a program that has
// the database open through SQLite's C library must close it first.
func (p *place) lockOld() (*os.File, error) {
	f, err := os.OpenFile(p.path, os.O_RDWR, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil // closing a nil file does nothing
	}
	if err != nil {
		return nil, &Error{"replace", p.path, pathless(err), "walvfs must be able to lock the old database"}
	}
	if err := lockFile(f, sqliteLocks, sqliteLocksLen); err != nil {
		f.Close()
		return nil, &Error{"replace", p.path, err, "stop the application first"}
	}
	return f, nil
}

// SQLite's lock bytes: PENDING, RESERVED and 510 SHARED ones. A connection in
// WAL mode holds a lock on SHARED bytes as long as it is open.
// See https://sqlite.org/lockingv3.html.
const (
	sqliteLocks    = 0x40000000
	sqliteLocksLen = 512
)

// create makes the temporary file, and locks it against other restores. What a
// crashed one left in it goes when the first file of the plan is applied.
func (p *place) create() (*temp, error) {
	name := p.path + tempSuffix
	for {
		f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o644)
		if err != nil {
			return nil, createError(name, err)
		}
		if err := lockFile(f, 0, 1); err != nil {
			f.Close()
			if errors.Is(err, ErrInUse) {
				err = errors.New("another restore to this path is under way")
			}
			return nil, &Error{"create", name, err, ""}
		}
		// Between open and lock, the restore that had the lock may have given
		// the file its final name: then it is a database, and not ours.
		if !sameFile(f, name) {
			f.Close()
			continue
		}
		return &temp{place: p, name: name, file: f}, nil
	}
}

// sameFile reports whether f still has that name.
func sameFile(f *os.File, name string) bool {
	a, err := f.Stat()
	if err != nil {
		return false
	}
	b, err := os.Lstat(name)
	return err == nil && os.SameFile(a, b)
}
