package statefile

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
)

// FileID distinguishes a file from its copies. It leaves out the device, whose number
// changes when a volume is attached again.
type FileID struct {
	Inode uint64 `json:"inode"`
	Birth int64  `json:"birth,omitempty"` // nanoseconds since 1970, 0 if unknown
}

// Inode returns the device and the inode of a file, zeros where the system has none.
func Inode(info fs.FileInfo) (device, inode uint64) { return inodeOf(info) }

// Identify returns the ID of the file at a path.
func Identify(path string) (id FileID, err error) {
	info, err := os.Stat(path)
	if err != nil {
		return id, err
	}
	_, id.Inode = inodeOf(info)
	id.Birth = birthOf(path)
	return id, nil
}

// nodeID derives the node ID from the file, so that it outlives the state file: the LTX
// files that this database wrote contain it. Where the file system has no birth time, it
// is a random number.
func (f FileID) nodeID() uint64 {
	if f.Birth == 0 {
		return rand.Uint64()
	}
	sum := sha256.Sum256(fmt.Appendf(nil, "walvfs %d %d", f.Inode, f.Birth))
	return binary.BigEndian.Uint64(sum[:])
}
