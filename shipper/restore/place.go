package restore

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/walvfs/walvfs/internal/statefile"
	"github.com/walvfs/walvfs/shipper/restore/internal/disk"
)

// tempSuffix is the suffix of the name of a database under construction. Each target has
// one such name, so a crashed restore leaves at most one file, which the next restore
// removes.
const tempSuffix = statefile.SuffixRestore

// besides are the files that SQLite treats as part of a database. See
// https://sqlite.org/tempfiles.html.
var besides = []string{"-wal", "-journal", "-shm"}

// place is the location of the restored database.
type place struct {
	path    string // of the file itself, not of a symbolic link
	force   bool
	keep    string
	confirm func() error
	hooks   disk.Hooks
}

// openPlace checks that a database may be restored to a path.
func openPlace(target string, opts Options) (*place, error) {
	if target == "" {
		return nil, &Error{Op: "restore to", Name: `""`, Err: errors.New("the path is empty")}
	}
	real, _, err := Look(target)
	if err != nil {
		return nil, restoreTo(err)
	}
	p := &place{path: real, force: opts.Force, keep: opts.Keep, confirm: opts.Confirm, hooks: opts.hooks}
	if p.keep == p.path {
		return nil, &Error{"restore to", p.path, errors.New("the old database cannot be kept under the same name"), ""}
	}
	if err := p.check(); err != nil {
		return nil, err
	}
	lock, err := p.lockOld()
	if err != nil {
		return nil, err
	}
	lock.close() // only a test: the application continues during the download
	return p, nil
}

// check finds files that prevent the restore.
func (p *place) check() error {
	dir, err := os.Stat(filepath.Dir(p.path))
	if err == nil && !dir.IsDir() {
		err = errors.New("not a directory")
	}
	if err != nil {
		return &Error{"restore to", p.path, fmt.Errorf("its directory: %w", disk.Pathless(err)), "create it first"}
	}
	_, presence, err := Look(p.path)
	switch {
	case err != nil:
		return restoreTo(err)
	case presence != Missing && disk.IsMount(p.path):
		return &Error{"restore to", p.path, errors.New("a file cannot replace a mount point"), mountHint}
	case p.force:
		return nil
	case presence == Present:
		if info, err := os.Stat(p.path); err == nil && info.Size() == 0 {
			return p.checkBesides() // those files prevent the restore
		}
		return &Error{"restore to", p.path, ErrExists, "to replace the database, force it"}
	}
	return p.checkBesides()
}

const mountHint = "mount the directory that the database is in, not the file"

// restoreTo rewords an error of [Look] for a restore.
func restoreTo(err error) error {
	if e, ok := errors.AsType[*Error](err); ok {
		e.Op = "restore to"
	}
	return err
}

// checkBesides finds files that SQLite would apply to the restored database.
func (p *place) checkBesides() error {
	for _, suffix := range besides {
		if disk.Exists(p.path + suffix) {
			return &Error{"restore to", p.path,
				fmt.Errorf("%s of an older database: %w", p.path+suffix, ErrExists),
				"SQLite would apply it to the restored database: move it away, or force its removal"}
		}
	}
	return nil
}

// lockOld locks the old database, if it exists, like a SQLite writer in rollback mode: it
// fails if any connection reads or has a write-ahead log open, and no connection can
// while the lock is held.
//
// Closing the file drops the process's POSIX locks on it: a program that has the database
// open through SQLite's C library must close it first.
func (p *place) lockOld() (*replaced, error) {
	f, err := os.OpenFile(p.path, os.O_RDWR|disk.NoFollow, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, &Error{"replace", p.path, disk.Pathless(err), "walvfs must be able to lock the old database"}
	}
	return p.locked(f)
}

func (p *place) locked(f *os.File) (*replaced, error) {
	if err := disk.Lock(f, sqliteLocks, sqliteLocksLen); err != nil {
		f.Close()
		return nil, &Error{"replace", p.path, err, "stop the application first"}
	}
	return &replaced{place: p, file: f, disk: p.hooks.Wrap(p.path, f)}, nil
}

// lockNew creates an empty file and locks it, if a database is gone and its logs still
// exist: an application that creates a database now must not lose the log that it begins.
func (p *place) lockNew() (*replaced, error) {
	var f *os.File
	err := p.step(func() (err error) {
		f, err = statefile.Create(p.path, p.path)
		return err
	})
	if err != nil {
		return nil, createError(p.path, err)
	}
	o, err := p.locked(f)
	if err == nil {
		o.placeholder = true
	}
	return o, err
}

// SQLite's lock bytes: PENDING, RESERVED and 510 SHARED ones. A connection in WAL mode
// holds a lock on SHARED bytes while it is open. See https://sqlite.org/lockingv3.html.
const (
	sqliteLocks    = 0x40000000
	sqliteShared   = sqliteLocks + 2
	sqliteLocksLen = 512
)

// create makes the temporary file, with the old database's mode and owner, and locks it
// against other restores.
func (p *place) create() (*temp, error) {
	name := p.path + tempSuffix
	var f *os.File
	err := p.step(func() (err error) {
		f, err = disk.OwnBeside(name, p.path)
		return err
	})
	switch {
	case errors.Is(err, ErrInUse):
		return nil, &Error{"create", name, errors.New("another restore to this path is running"), ""}
	case err != nil:
		return nil, createError(name, err)
	}
	return &temp{place: p, name: name, file: f}, nil
}

// step changes names on the disk.
func (p *place) step(do func() error) error { return p.hooks.Do(do) }

// syncDir makes the names in the target's directory durable.
func (p *place) syncDir() error {
	if name, err := p.hooks.SyncDir(p.path); err != nil {
		return &Error{"sync", name, disk.Pathless(err), ""}
	}
	return nil
}
