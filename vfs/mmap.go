package vfs

import (
	"github.com/ncruces/go-sqlite3/util/vfsutil"
	"github.com/ncruces/go-sqlite3/vfs"
)

var _ vfs.FileMemoryMapper = (*mainFile)(nil)

// MemoryMapper forwards. SQLite reads through it and writes with WriteAt. The
// internal connection has no use for one; go-sqlite3 v0.37.0 panics where a
// connection with one checkpoints a database with checksums.
func (f *mainFile) MemoryMapper() vfs.MemoryMapper {
	if f.internal {
		return nil
	}
	return vfsutil.WrapMemoryMapper(f.File)
}
