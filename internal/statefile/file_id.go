package statefile

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
)

// FileID tells a file from its copies. Devices are left out: their numbers change
// when a volume is attached again.
type FileID struct {
	Inode uint64 `json:"inode"`
	Birth int64  `json:"birth,omitempty"` // nanoseconds since 1970, 0 where it is not known
}

// Inode returns the device and the inode of a file, zeros where the system has none.
func Inode(info fs.FileInfo) (device, inode uint64) { return inodeOf(info) }

// Identify returns what tells the file of that path from its copies.
func Identify(path string) (id FileID, err error) {
	info, err := os.Stat(path)
	if err != nil {
		return id, err
	}
	_, id.Inode = inodeOf(info)
	id.Birth = birthOf(path)
	return id, nil
}

// nodeID is the file's own, so that it outlives the state file: LTX files have it that
// this database wrote. Where the file system knows no birth, it is a random number.
func (f FileID) nodeID() uint64 {
	if f.Birth == 0 {
		return rand.Uint64()
	}
	sum := sha256.Sum256(fmt.Appendf(nil, "walvfs %d %d", f.Inode, f.Birth))
	return binary.BigEndian.Uint64(sum[:])
}
