package statefile

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
)

// Create creates a file next to a database. If the name is taken, even by a symbolic link,
// the error is [fs.ErrExist]. Create gives the file the mode and the group of the database,
// and if the process runs as root, its owner, as SQLite does for its own files. Where the
// system allows it, the file gets them before it gets its name. If the database does not
// exist, only the file's owner may access it; if root creates it, it belongs to the
// directory's owner.
func Create(name, database string) (*os.File, error) {
	like, err := traitsOf(database)
	if err != nil {
		return nil, err
	}
	f, err := createUnnamed(name, like)
	if errors.Is(err, errors.ErrUnsupported) {
		f, err = createNamed(name, like)
	}
	return f, err
}

// Match gives a file the mode, group and owner that [Create] would give it now: the
// database may be another file than it was when the file was created.
func Match(f *os.File, database string) error {
	like, err := traitsOf(database)
	if err == nil {
		giveTo(f, like)
	}
	return err
}

// traits are the properties that a file inherits from the database.
type traits struct {
	mode     fs.FileMode
	uid, gid int // -1 keeps the system's choice for the new file
}

func traitsOf(database string) (traits, error) {
	info, err := os.Stat(database)
	if err == nil {
		t := traits{info.Mode().Perm(), -1, -1}
		t.uid, t.gid = heirs(info)
		return t, nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return traits{}, err
	}
	t := traits{0o600, -1, -1}
	if os.Geteuid() == 0 {
		if info, err := os.Stat(filepath.Dir(database)); err == nil {
			t.uid, t.gid = heirs(info)
		}
	}
	return t, nil
}

// createNamed creates a file that has its name before its owner and mode. Until then,
// only its creator may access it.
func createNamed(name string, like traits) (*os.File, error) {
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL, like.mode&0o600)
	if err != nil {
		return nil, err
	}
	giveTo(f, like)
	return f, nil
}

// giveTo sets the owner, group and mode of a file, as far as the system allows it: some
// file systems have no owners, a server may refuse to change them, and a user can give a
// file only to a group of their own. A file that keeps another group than the database's
// gives that group no access.
func giveTo(f *os.File, like traits) {
	if like.uid >= 0 || like.gid >= 0 {
		f.Chown(like.uid, like.gid)
	}
	info, err := f.Stat()
	if err != nil {
		return
	}
	mode := like.mode
	if _, gid := heirs(info); gid != like.gid {
		mode &^= 0o070
	}
	if info.Mode().Perm() != mode {
		f.Chmod(mode)
	}
}

// Temp creates a file without a name in a directory, or in the directory of temporary
// files if dir is empty. Only its owner may access the file. It ends with [CloseTemp].
func Temp(dir string) (*os.File, error) {
	if dir == "" {
		dir = os.TempDir()
	}
	f, err := tempUnnamed(dir)
	if !errors.Is(err, errors.ErrUnsupported) {
		return f, err
	}
	if f, err = os.CreateTemp(dir, ".walvfs-*.tmp"); err == nil {
		os.Remove(f.Name())
	}
	return f, err
}

// CloseTemp closes a file of [Temp]. It also removes the file's name, which exists only
// on systems without unnamed files.
func CloseTemp(f *os.File) error {
	err := f.Close()
	if rerr := os.Remove(f.Name()); !errors.Is(rerr, fs.ErrNotExist) {
		err = errors.Join(err, rerr)
	}
	return err
}
