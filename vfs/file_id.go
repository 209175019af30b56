package vfs

import (
	"io/fs"
	"os"

	"github.com/ncruces/go-sqlite3/vfs"

	"github.com/walvfs/walvfs/internal/statefile"
)

// fileID identifies a file whatever its names are.
type fileID struct {
	device, inode uint64
	path          string // where the system has no inodes
}

// identify returns the identity of an open file. Where it can, it calls Stat of the file
// itself, which is right even if the path was replaced after the open.
func identify(path string, file vfs.File) (id fileID, err error) {
	f, ok := file.(interface{ Stat() (fs.FileInfo, error) })
	if !ok {
		return identifyPath(path)
	}
	info, err := f.Stat()
	if err != nil {
		return id, err
	}
	return identifyInfo(path, info), nil
}

// identifyPath returns the identity of the file that has a path now.
func identifyPath(path string) (id fileID, err error) {
	info, err := os.Stat(path)
	if err != nil {
		return id, err
	}
	return identifyInfo(path, info), nil
}

func identifyInfo(path string, info fs.FileInfo) (id fileID) {
	if id.device, id.inode = statefile.Inode(info); id.inode == 0 {
		id.path = path
	}
	return id
}
