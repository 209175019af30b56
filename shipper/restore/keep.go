package restore

import (
	"errors"
	"io"
	"io/fs"
	"os"

	"github.com/walvfs/walvfs/internal/statefile"
	"github.com/walvfs/walvfs/shipper/restore/internal/disk"
)

// CleanUp removes what an interrupted restore may have left next to a database: a file
// being restored, a second name of a database about to be replaced, and files that an
// earlier version set aside. It does not disturb a running restore.
func CleanUp(path string) error {
	real, presence, err := Look(path)
	if err != nil {
		return err
	}
	p := &place{path: real, keep: real + statefile.SuffixBehind}
	for _, name := range []string{p.path + tempSuffix, p.keep + tempSuffix} {
		switch err := disk.RemoveStale(name); {
		case errors.Is(err, ErrInUse):
			return nil
		case err != nil:
			return &Error{"remove", name, disk.Pathless(err), "a restore that was interrupted has left it"}
		}
	}
	if presence == Present {
		for _, suffix := range append([]string{""}, besides...) {
			if err := p.remove(p.path + suffix + statefile.SuffixOld); err != nil {
				return err
			}
		}
	}
	if !p.isKept() {
		return nil
	}
	f, err := os.OpenFile(p.path, os.O_RDONLY|disk.NoFollow, 0)
	if err != nil {
		return &Error{"open", p.path, disk.Pathless(err), ""}
	}
	defer disk.Close(f)
	// A process that replaces the database has it locked.
	if err := disk.Share(f, sqliteShared, 1); err != nil || !disk.SameFile(f, p.path) {
		return nil
	}
	return p.unkeep()
}

// keep gives the old database a second name, and its loose logs with it. It first removes
// what an earlier restore left there: the database before its logs, because SQLite
// applies no log without a database.
func (o *replaced) keep(loose []string) error {
	p := o.place
	for _, suffix := range append([]string{""}, besides...) {
		if err := p.remove(p.keep + suffix); err != nil {
			return err
		}
	}
	for _, suffix := range loose {
		log, _, err := o.openLog(suffix)
		if err == nil && log != nil {
			err = p.linkOrCopy(log, p.keep+suffix)
			log.Close()
		}
		if err != nil {
			return err
		}
	}
	return p.linkOrCopy(o.file, p.keep)
}

// linkOrCopy gives a file another name. On a file system without links, it makes a copy
// with that name.
func (p *place) linkOrCopy(f *os.File, to string) error {
	err := p.step(func() error { return os.Link(f.Name(), to) })
	if err != nil {
		err = p.copyTo(f, to)
	}
	if err != nil {
		return &Error{"keep the old database as", to, disk.Pathless(err), ""}
	}
	return nil
}

// copyTo makes a durable copy under a temporary name, and then renames it.
func (p *place) copyTo(f *os.File, to string) error {
	info, err := f.Stat()
	if err != nil {
		return err
	}
	name := to + tempSuffix
	var copied *os.File
	err = p.step(func() (err error) {
		copied, err = disk.OwnBeside(name, p.path)
		return err
	})
	if err != nil {
		return err
	}
	defer copied.Close()
	target := p.hooks.Wrap(name, copied)
	err = p.step(func() error {
		_, err := io.Copy(io.NewOffsetWriter(target, 0), io.NewSectionReader(f, 0, info.Size()))
		return err
	})
	if err == nil {
		err = p.step(target.Sync)
	}
	if err == nil {
		err = p.step(func() error { return disk.RenameNew(name, to) })
	}
	if err != nil {
		p.step(func() error { return os.Remove(name) })
	}
	return err
}

// isKept reports whether the database at the path also has the kept name: a restore was
// about to replace it, and did not.
func (p *place) isKept() bool {
	if p.keep == "" {
		return false
	}
	a, errA := os.Lstat(p.path)
	b, errB := os.Lstat(p.keep)
	return errA == nil && errB == nil && os.SameFile(a, b)
}

// unkeep removes the second name of a database that stays. Loose logs get their names
// back.
func (p *place) unkeep() error {
	if !p.isKept() {
		return nil
	}
	for _, suffix := range []string{"-journal", "-wal"} {
		from, to := p.keep+suffix, p.path+suffix
		if !disk.Exists(from) {
			continue
		}
		err := p.step(func() error {
			err := disk.RenameNew(from, to)
			if errors.Is(err, fs.ErrExist) {
				err = os.Remove(from)
			}
			return err
		})
		if err != nil {
			return &Error{"rename", from, disk.Pathless(err), ""}
		}
	}
	return p.remove(p.keep)
}
