//go:build !unix

package file

import (
	"io/fs"
	"os"
	"path/filepath"
)

func ownerOf(fs.FileInfo) (uid, gid int) { return -1, -1 }

func openDir(name string) (*os.File, error) { return os.Open(name) }

// fileSystem names the volume that a path is on.
func fileSystem(name string) string { return filepath.VolumeName(name) }
