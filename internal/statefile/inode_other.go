//go:build !unix

package statefile

import "io/fs"

func inodeOf(fs.FileInfo) (device, inode uint64) { return 0, 0 }
