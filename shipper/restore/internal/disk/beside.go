package disk

import (
	"errors"
	"io/fs"
	"os"
	"time"

	"github.com/walvfs/walvfs/internal/statefile"
)

// OpenBeside opens a file that an earlier run created. It refuses anything but a regular
// file with one name.
func OpenBeside(name string) (*os.File, error) {
	f, err := os.OpenFile(name, os.O_RDWR|NoFollow, 0)
	if err != nil {
		if info, e := os.Lstat(name); e == nil && !info.Mode().IsRegular() {
			err = ErrForeign
		}
		return nil, err
	}
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() || LinksOf(info) > 1 || !SameFile(f, name) {
		f.Close()
		return nil, errors.Join(err, ErrForeign)
	}
	return f, nil
}

// ErrForeign: a file that walvfs did not create has a name that this package uses.
var ErrForeign = errors.New("it is a link or a special file, and not one that walvfs created")

// RemoveStale removes a file that a crashed run left, unless a process has it locked.
func RemoveStale(name string) error {
	f, err := OpenBeside(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer Close(f)
	if err := Lock(f, 0, 1); err != nil {
		return err
	}
	if !SameFile(f, name) {
		return nil // the lock's holder has renamed or removed it
	}
	return os.Remove(name)
}

// OwnBeside creates a file with the database's mode and owner, and locks it. It first
// removes a file that a crashed run left there. It fails with [ErrInUse] if another process
// has the file locked. A process that cleans up holds the lock for an instant, hence the
// retries.
func OwnBeside(name, database string) (*os.File, error) {
	const tries, pause = 20, 5 * time.Millisecond
	var err error
	for range tries {
		f, e := statefile.Create(name, database)
		if errors.Is(e, fs.ErrExist) {
			if err = RemoveStale(name); errors.Is(err, ErrInUse) {
				time.Sleep(pause)
				continue
			}
			if err != nil {
				return nil, err
			}
			continue
		}
		if e != nil {
			return nil, e
		}
		if err = Lock(f, 0, 1); err == nil && SameFile(f, name) {
			return f, nil
		}
		Close(f)
		if err != nil && !errors.Is(err, ErrInUse) {
			return nil, err
		}
		err = ErrInUse
	}
	return nil, err
}

// SameFile reports whether f still has that name.
func SameFile(f *os.File, name string) bool {
	a, err := f.Stat()
	if err != nil {
		return false
	}
	b, err := os.Lstat(name)
	return err == nil && os.SameFile(a, b)
}
