package restore

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/walvfs/walvfs/shipper/restore/internal/disk"
)

// Presence says whether a database exists at a path.
type Presence int

const (
	// Missing: no file has that name, or a symbolic link leads to none.
	Missing Presence = iota

	// Empty: a file of 0 bytes without a "-wal" or "-journal" file, created by touch, a
	// container's bind mount or an application that only opened it. SQLite treats it as a
	// database that does not exist yet, and so does [Restore].
	Empty

	// Present: a file with any content.
	Present
)

// Look reports whether a path has a database, and the name of the file itself. It follows
// symbolic links, even to a file that does not exist yet, because SQLite creates its
// files next to the real file. A directory, a pipe or a device is an error, and so is a
// path that cannot be examined: neither means that there is no database.
func Look(path string) (real string, p Presence, err error) {
	real, info, err := resolve(path)
	fail := func(err error, hint string) (string, Presence, error) {
		return real, Present, &Error{"look at", path, disk.Pathless(err), hint}
	}
	switch {
	case err != nil:
		return fail(err, "")
	case info == nil:
		return real, Missing, nil
	case info.IsDir():
		return fail(errors.New("it is a directory"), "name the database's file")
	case !info.Mode().IsRegular():
		return fail(errors.New("it is not a regular file"), "name the database's file")
	case info.Size() > 0 || disk.Exists(real+"-wal") || disk.Exists(real+"-journal"):
		return real, Present, nil
	}
	return real, Empty, nil
}

// maxLinks is the number of symbolic links to follow, as on Linux.
const maxLinks = 40

// resolve follows symbolic links to a name that is not a link. The info is nil if no file
// has that name. [filepath.EvalSymlinks] does not return the target of a dangling link.
func resolve(path string) (real string, info fs.FileInfo, err error) {
	for range maxLinks {
		dir, base := filepath.Split(path)
		if dir != "" {
			real, err := filepath.EvalSymlinks(dir)
			if errors.Is(err, fs.ErrNotExist) {
				return path, nil, nil
			}
			if err != nil {
				return path, nil, fmt.Errorf("its directory: %w", disk.Pathless(err))
			}
			dir = real + string(filepath.Separator)
		}
		path = filepath.Join(dir, base)
		info, err := os.Lstat(path)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return path, nil, nil
		case err != nil || info.Mode().Type() != fs.ModeSymlink:
			return path, info, err
		}
		to, err := os.Readlink(path)
		if err != nil {
			return path, nil, err
		}
		if path = to; !filepath.IsAbs(to) {
			path = dir + to // not joined: ".." is resolved after links, not before
		}
	}
	return path, nil, errors.New("too many levels of symbolic links")
}
