package statefile

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
)

// openState opens the state file of a database for writing. It creates the file if it
// does not exist and create is set.
func openState(database string, create bool) (f *os.File, created bool, err error) {
	name := database + Suffix
	for try := 0; ; try++ {
		f, err = openRegular(name, os.O_RDWR)
		if errors.Is(err, fs.ErrPermission) && makeWritable(name) {
			f, err = openRegular(name, os.O_RDWR)
		}
		if err == nil {
			err = ownAlone(f, database)
			return f, false, err
		}
		if !create || !errors.Is(err, fs.ErrNotExist) {
			return nil, false, err
		}
		f, err = Create(name, database)
		if !errors.Is(err, fs.ErrExist) || try > 0 {
			return f, true, err
		}
	}
}

// ownAlone checks that no other name leads to the file, and gives it the database's
// owner: a program that root ran may have created it with another owner. It closes f if
// it fails.
func ownAlone(f *os.File, database string) error {
	info, err := f.Stat()
	if err == nil && linksOf(info) > 1 {
		err = fmt.Errorf("open %s: it has other names, which are hard links to it (remove it)", f.Name())
	}
	var like traits
	if err == nil {
		like, err = traitsOf(database)
	}
	if err != nil {
		f.Close()
		return err
	}
	if like.uid >= 0 {
		giveTo(f, like)
	}
	return nil
}

// openRegular opens an existing regular file. It follows no symbolic link, and does not
// wait for the other end of a pipe.
func openRegular(name string, flag int) (*os.File, error) {
	f, err := os.OpenFile(name, flag|openFlags, 0)
	if err != nil {
		return nil, explain(name, err)
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = notRegular(name, info.Mode())
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

func notRegular(name string, mode fs.FileMode) error {
	what := "not a regular file"
	switch {
	case mode&fs.ModeSymlink != 0:
		what = "a symbolic link"
	case mode.IsDir():
		what = "a directory"
	case mode&fs.ModeNamedPipe != 0:
		what = "a named pipe"
	}
	return fmt.Errorf("open %s: it is %s (remove it)", name, what)
}

// explain adds the remedy to an error of open.
func explain(name string, err error) error {
	info, statErr := os.Lstat(name)
	switch {
	case statErr != nil:
		return err
	case !info.Mode().IsRegular():
		return notRegular(name, info.Mode())
	case !errors.Is(err, fs.ErrPermission):
		return err
	}
	if owner, other := ownerOf(info); other {
		return fmt.Errorf("%w (it belongs to %s: chown it to the database's owner)", err, owner)
	}
	return fmt.Errorf("%w (its mode is %04o: chmod it to the database's mode)", err, info.Mode().Perm())
}
