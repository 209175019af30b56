package file

import (
	"io/fs"
	"os"
	"path/filepath"
)

// access is who may use the files that a store creates: only their owner, unless the
// replica's directory is shared with its group on purpose.
type access struct {
	group    fs.FileMode // the group's permissions on directories, and setgid
	uid, gid int         // -1: as created
}

// access reads the access from the replica's directory, or from the directory that it
// will be created in, whose owner the replica gets if root runs the program.
func (s *Store) access() access {
	info, err := os.Stat(s.root)
	if err == nil {
		return accessLike(info)
	}
	for dir := s.root; err != nil && dir != filepath.Dir(dir); {
		dir = filepath.Dir(dir)
		info, err = os.Stat(dir)
	}
	if err != nil || os.Geteuid() != 0 {
		return access{uid: -1, gid: -1}
	}
	a := accessLike(info)
	a.group = 0
	return a
}

// accessLike returns the access that a directory implies. It ignores the group's
// permissions if others have them all, too, as in a directory of mode 0755, and the
// directory is not setgid: they are not deliberate.
func accessLike(info fs.FileInfo) access {
	a := access{uid: -1, gid: -1}
	mode := info.Mode()
	group, others := mode.Perm()&0o070, mode.Perm()&0o007<<3
	if mode&fs.ModeSetgid != 0 || group&^others != 0 {
		a.group = group | mode&fs.ModeSetgid
	}
	uid, gid := ownerOf(info)
	if os.Geteuid() == 0 {
		a.uid, a.gid = uid, gid
	} else if a.group != 0 {
		a.gid = gid
	}
	return a
}

func (a access) dirMode() fs.FileMode { return 0o700 | a.group }

func (a access) fileMode() fs.FileMode { return 0o600 | a.group&0o060 }

// give sets the owner and mode of a new file that so far only its owner can use. The
// group gets its permissions only if it is the right group. give ignores attributes that
// the file system does not support.
func (a access) give(f *os.File, mode fs.FileMode) {
	if a.uid >= 0 || a.gid >= 0 {
		f.Chown(a.uid, a.gid)
	}
	info, err := f.Stat()
	if err != nil {
		return
	}
	if _, gid := ownerOf(info); gid != a.gid {
		mode &^= 0o070 | fs.ModeSetgid
	}
	if info.Mode()&(fs.ModePerm|fs.ModeSetgid) != mode {
		f.Chmod(mode)
	}
}
