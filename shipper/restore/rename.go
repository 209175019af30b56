package restore

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
)

// rename gives a file a name that no file has, where the system can do it in
// one step: a database that was created this instant is not replaced.
func (p *place) rename(from, to string) error {
	if err := p.step(func() error { return renameNew(from, to) }); err != nil {
		return &Error{"rename", from, fmt.Errorf("to %s: %w", to, pathless(err)), ""}
	}
	return nil
}

// checkedRename is renameNew in two steps.
func checkedRename(from, to string) error {
	if exists(to) {
		return fs.ErrExist
	}
	return os.Rename(from, to)
}

// syncDir makes the names in the target's directory durable.
func (p *place) syncDir() error {
	if runtime.GOOS == "windows" {
		return nil // directories cannot be synced there
	}
	name := filepath.Dir(p.path)
	err := p.step(func() error {
		dir, err := os.Open(name)
		if err != nil {
			return err
		}
		return errors.Join(p.hooks.wrap(name, dir).Sync(), dir.Close())
	})
	if err != nil {
		return &Error{"sync", name, pathless(err), ""}
	}
	return nil
}

// step changes names on the disk. Tests look at every state between two steps
// and make each step fail.
func (p *place) step(do func() error) error {
	if p.hooks.step == nil {
		return do()
	}
	return p.hooks.step(do)
}

// exists reports whether there is a file, or something that hides whether.
func exists(name string) bool {
	_, err := os.Lstat(name)
	return !errors.Is(err, fs.ErrNotExist)
}

// pathless drops the paths that the os package repeats in its errors.
func pathless(err error) error {
	if e, ok := errors.AsType[*fs.PathError](err); ok {
		return e.Err
	}
	if e, ok := errors.AsType[*os.LinkError](err); ok {
		return e.Err
	}
	return err
}
