package vfs

import (
	"context"
	"errors"
	"io/fs"
	"os"

	"github.com/ncruces/go-sqlite3/util/vfsutil"
	"github.com/ncruces/go-sqlite3/vfs"

	"github.com/walvfs/walvfs/shipper/storage"
)

// openOrCreate opens a main database, and reports whether it has created the file. It
// creates no file if the replica cannot be opened: an empty file would keep
// restore=if-missing from restoring the database.
func (v *replicated) openOrCreate(name *vfs.Filename, flags vfs.OpenFlag, cfg settings) (_ vfs.File, out vfs.OpenFlag, created bool, err error) {
	if _, err := os.Lstat(name.String()); flags&vfs.OPEN_CREATE != 0 && errors.Is(err, fs.ErrNotExist) {
		if err := cfg.tryReplica(); err != nil {
			return nil, flags, false, cannotOpen(name.String(), err)
		}
		file, out, err := vfsutil.WrapOpenFilename(v.VFS, name, flags|vfs.OPEN_EXCLUSIVE)
		if err == nil {
			return file, out &^ vfs.OPEN_EXCLUSIVE, true, nil
		}
	}
	file, out, err := vfsutil.WrapOpenFilename(v.VFS, name, flags)
	return file, out, false, err
}

// tryReplica returns what is wrong with the replica, as far as it can find out without a
// request to the store.
func (s settings) tryReplica() error {
	store, err := storage.Open(context.Background(), s.replica, s.storage)
	if err != nil {
		return err
	}
	return store.Close()
}

// uncreate removes an empty database file that this open has created, unless another
// connection of this process uses it, or another process replicates it or has a
// transaction. A process that has the file open and idle fails when it begins to write:
// SQLite checks whether the file was moved before it creates a journal.
func (r *registry) uncreate(path string, file vfs.File) {
	id, err := identify(path, file)
	if err != nil {
		return
	}
	lock, err := lockDatabase(path)
	if err != nil {
		return
	}
	defer lock.Close()
	for _, level := range []vfs.LockLevel{vfs.LOCK_SHARED, vfs.LOCK_RESERVED, vfs.LOCK_EXCLUSIVE} {
		if file.Lock(level) != nil {
			return
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.byFile[id] != nil || r.byPath[path] != nil || r.opening[id] != nil {
		return
	}
	if size, err := file.Size(); err != nil || size > 0 {
		return
	}
	if there, err := identifyPath(path); err == nil && there == id {
		os.Remove(path)
	}
}
