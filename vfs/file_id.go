package vfs

import (
	"io/fs"
	"os"

	"github.com/ncruces/go-sqlite3/vfs"

	"github.com/walvfs/walvfs/shipper/sidecar"
)

// fileID identifies a file whatever its names are.
type fileID struct {
	device, inode uint64
	path          string // where the system tells no inode
}

// identify returns the identity of an open file. It asks the file itself where
// it can, so that one that was replaced after the open is not mistaken.
func identify(path string, file vfs.File) (id fileID, err error) {
	var info fs.FileInfo
	if f, ok := file.(interface{ Stat() (fs.FileInfo, error) }); ok {
		info, err = f.Stat()
	} else {
		info, err = os.Stat(path)
	}
	if err != nil {
		return id, err
	}
	if id.device, id.inode = sidecar.Inode(info); id.inode == 0 {
		id.path = path
	}
	return id, nil
}
