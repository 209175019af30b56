package restore

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"runtime"
	"syscall"

	"github.com/walvfs/walvfs/internal/statefile"
	"github.com/walvfs/walvfs/shipper/restore/internal/disk"
)

// temp is a database under its temporary name.
type temp struct {
	place *place
	name  string
	file  *os.File
	done  bool // it has its final name
}

// discard removes the file unless it was published.
func (t *temp) discard() {
	if !t.done && disk.SameFile(t.file, t.name) {
		t.place.step(func() error { return os.Remove(t.name) }) // while the lock is held: no other restore has this name
	}
	disk.Close(t.file)
}

// publish makes the file durable and gives it the target's name. One rename replaces a
// database. A crash of the process or the machine before or after it leaves a database
// with all its parts:
//
//	sync      the new database is durable under its temporary name
//	lock      no connection has the old database open, and none can open it
//	confirm   the caller may refuse
//	settle    the old main file holds the content of its logs, and is complete without them
//	keep      the old database has a second name
//	clear     its logs, now empty, are removed
//	remember  the record of the new database is next to it, keyed by the new file
//	rename    the new database replaces the old one
//
// An application may open the new database as soon as it has its name: publish touches no
// file next to it after that.
func (t *temp) publish(ctx context.Context, db *database, remember func() error) (err error) {
	p := t.place
	if err := p.step(db.file.Sync); err != nil {
		return &Error{"sync", t.name, disk.Pathless(err), ""}
	}
	old, err := p.confirmed(ctx)
	if err != nil {
		return err
	}
	defer old.close()
	if old != nil {
		defer func() {
			if err != nil && !t.done {
				err = errors.Join(err, old.undo())
			}
		}()
		if err := t.inherit(old); err != nil {
			return err
		}
		if err := old.clear(); err != nil {
			return err
		}
	}
	if err := p.step(remember); err != nil {
		return err
	}
	if err := t.rename(old); err != nil {
		return err
	}
	t.done = true
	if err := p.syncDir(); err != nil {
		return fmt.Errorf("%w: the database is restored, but a power loss may undo that", err)
	}
	return nil
}

// confirmed locks the database to replace, nil if none exists, and checks again whether
// it may be replaced: the first check was before the download.
func (p *place) confirmed(ctx context.Context) (old *replaced, err error) {
	if old, err = p.lockOld(); err != nil {
		return nil, cmp.Or(p.check(), err) // a new file that may not be replaced may be in use
	}
	if err = p.check(); err == nil && ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	if err == nil && p.confirm != nil {
		err = p.confirm()
		if err == nil && old != nil {
			// On systems where closing any of a file's descriptors drops the process's locks,
			// confirm may have dropped this one.
			if err = disk.Lock(old.file, sqliteLocks, sqliteLocksLen); err != nil {
				err = &Error{"replace", p.path, err, "stop the application first"}
			}
		}
	}
	if err != nil {
		old.close()
		return nil, err
	}
	if old == nil && p.checkBesides() != nil {
		return p.lockNew()
	}
	return old, nil
}

// inherit gives the new file the old one's owner and mode, which may have changed since
// the new file was created.
func (t *temp) inherit(old *replaced) error {
	err := t.place.step(func() error { return statefile.Match(t.file, old.place.path) })
	if err != nil {
		return &Error{"change the mode of", t.name, disk.Pathless(err), ""}
	}
	return nil
}

// clear removes everything of the old database except its main file and its kept name.
func (o *replaced) clear() error {
	info, err := o.file.Stat()
	if err != nil {
		return o.fail("stat", err)
	}
	if info.Size() > 0 { // else it is no database, and logs next to it belong to another
		loose, err := o.settle()
		if err == nil && o.place.keep != "" {
			err = o.keep(loose)
		}
		if err != nil {
			return err
		}
	}
	for _, suffix := range besides {
		if err := o.place.remove(o.place.path + suffix); err != nil {
			return err
		}
	}
	return o.place.syncDir()
}

// undo restores the previous state if the old database stays.
func (o *replaced) undo() error {
	if o.placeholder {
		return o.place.remove(o.place.path)
	}
	return o.place.unkeep()
}

// rename gives the file its final name. It does not replace a database created a moment
// ago, nor any file except the old database.
func (t *temp) rename(old *replaced) error {
	p := t.place
	rename := disk.RenameNew
	if old != nil {
		rename = os.Rename
	}
	err := p.step(func() error {
		switch {
		case !disk.SameFile(t.file, t.name), old != nil && !disk.SameFile(old.file, p.path):
			return errors.New("another program replaced it during the restore")
		case old != nil && runtime.GOOS == "windows":
			old.file.Close() // Windows cannot replace an open file
		}
		return rename(t.name, p.path)
	})
	if err == nil {
		return nil
	}
	e := &Error{"rename", t.name, fmt.Errorf("to %s: %w", p.path, disk.Pathless(err)), ""}
	if errors.Is(err, syscall.EBUSY) {
		e.Hint = mountHint
	}
	return e
}

// remove removes a file, if it exists.
func (p *place) remove(name string) error {
	if !disk.Exists(name) {
		return nil
	}
	err := p.step(func() error { return os.Remove(name) })
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return &Error{"remove", name, disk.Pathless(err), ""}
	}
	return nil
}
