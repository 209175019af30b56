package vfs

import (
	"io/fs"
	"os"

	"github.com/ncruces/go-sqlite3/vfs"
)

// fileID identifies a file whatever its names are.
type fileID struct {
	device, inode uint64
	path          string // where the system tells no inode
}

// identify returns the identity of an open file. It asks the file itself where
// it can, so that one that was replaced after the open is not mistaken.
func identify(path string, file vfs.File) (fileID, error) {
	var info fs.FileInfo
	var err error
	if f, ok := file.(interface{ Stat() (fs.FileInfo, error) }); ok {
		info, err = f.Stat()
	} else {
		info, err = os.Stat(path)
	}
	if err != nil {
		return fileID{}, err
	}
	if device, inode, ok := inodeOf(info); ok {
		return fileID{device: device, inode: inode}, nil
	}
	return fileID{path: path}, nil
}
