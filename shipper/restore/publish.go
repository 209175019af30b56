package restore

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
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
	if !t.done {
		os.Remove(t.name) // while the lock is held: the name is ours
	}
	t.file.Close()
}

// publish makes the file durable and gives it the target's name.
//
// With an old database in the way, the order matters: a crash must not leave
// its write-ahead log beside the new database, nor the old database without
// its log, which may be half checkpointed and would be read as if it were
// whole. So the old database goes first, then its log, and only then the new
// one comes. In between there is no database, which everyone notices; and a
// log without a database is deleted by SQLite. Whatever fails, the old files
// get their names back.
//
// What remember leaves beside the database is of the new one: it comes when the old
// one is out of the way.
func (t *temp) publish(ctx context.Context, db *database, remember func() (undo func(), err error)) error {
	p := t.place
	lock, err := p.lockOld()
	if err != nil {
		return err
	}
	defer lock.Close()
	if err := p.inherit(t.file, lock); err != nil {
		return err
	}
	if err := db.file.Sync(); err != nil {
		return &Error{"sync", t.name, pathless(err), ""}
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if err := p.check(); err != nil { // the first time was long ago
		return err
	}
	old, err := p.setAside()
	var undo func()
	if err == nil && remember != nil {
		undo, err = remember()
	}
	if err == nil {
		err = p.rename(t.name, p.path)
	}
	if err != nil {
		if undo != nil {
			undo()
		}
		return errors.Join(err, p.putBack(old))
	}
	t.done = true
	if err := p.syncDir(); err != nil {
		return fmt.Errorf("%w: the database is restored, but a power loss may undo that", err)
	}
	return p.removeOld()
}

// asideSuffix makes the names of an old database's files while it is replaced.
// Only a crash in that moment leaves them behind.
const asideSuffix = "-walvfs-old"

// parts names a database and the files that belong to it, in the order in
// which they may disappear.
func (p *place) parts() []string {
	parts := []string{p.path}
	for _, suffix := range besides {
		parts = append(parts, p.path+suffix)
	}
	return parts
}

// setAside renames the old database, if it may be replaced. It returns the
// names that are free now, with an error too.
func (p *place) setAside() (done []string, err error) {
	if !p.force {
		return nil, nil
	}
	for _, name := range p.parts() {
		if !exists(name) {
			continue
		}
		if err := p.step(func() error { return os.Rename(name, name+asideSuffix) }); err != nil {
			return done, &Error{"set aside", name, pathless(err), ""}
		}
		done = append(done, name)
	}
	if len(done) == 0 {
		return nil, nil
	}
	return done, p.syncDir()
}

// putBack undoes setAside, the database last.
func (p *place) putBack(done []string) error {
	var errs []error
	for i := len(done) - 1; i >= 0; i-- {
		errs = append(errs, p.rename(done[i]+asideSuffix, done[i]))
	}
	return errors.Join(errs...)
}

// recover puts back an old database that a crash left aside, before another one got
// its name.
func (p *place) recover() error {
	if exists(p.path) || !exists(p.path+asideSuffix) {
		return nil
	}
	var aside []string
	for _, name := range p.parts() {
		if exists(name + asideSuffix) {
			aside = append(aside, name)
		}
	}
	return p.putBack(aside)
}

// removeOld deletes what setAside put aside, now or before an earlier crash, or
// moves it to where it is to be kept.
func (p *place) removeOld() error {
	if !p.force {
		return nil
	}
	for _, name := range p.parts() {
		if err := p.unkeep(strings.TrimPrefix(name, p.path)); err != nil {
			return err
		}
	}
	for _, name := range p.parts() {
		old, suffix := name+asideSuffix, strings.TrimPrefix(name, p.path)
		if !exists(old) {
			continue
		}
		do := func() error { return os.Remove(old) }
		if p.keep != "" && suffix != "-shm" {
			do = func() error { return os.Rename(old, p.keep+suffix) }
		}
		if err := p.step(do); err != nil {
			return &Error{"remove", old, pathless(err), "the database is restored; remove this old file"}
		}
	}
	return nil
}

// unkeep removes what an earlier restore kept: SQLite would apply an older log to
// a newer database.
func (p *place) unkeep(suffix string) error {
	if p.keep == "" {
		return nil
	}
	if err := os.Remove(p.keep + suffix); !errors.Is(err, os.ErrNotExist) && err != nil {
		return &Error{"remove", p.keep + suffix, pathless(err), "the database is restored; the old one was to go there"}
	}
	return nil
}
