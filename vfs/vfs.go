package vfs

import (
	"fmt"
	"strings"

	"github.com/ncruces/go-sqlite3"
	"github.com/ncruces/go-sqlite3/util/vfsutil"
	"github.com/ncruces/go-sqlite3/vfs"
)

// replicated is the VFS: it opens files of the VFS underneath and wraps the two
// kinds that tell of commits, main databases and their WALs.
type replicated struct {
	vfs.VFS
	name     string // that it is registered under, without internalSuffix
	opts     Options
	internal bool // opens the cut's own connections
}

var _ vfs.VFSFilename = (*replicated)(nil)

// Open implements [vfs.VFS]. SQLite calls OpenFilename instead, but for
// temporary files.
func (v *replicated) Open(name string, flags vfs.OpenFlag) (vfs.File, vfs.OpenFlag, error) {
	return vfsutil.WrapOpen(v.VFS, name, flags)
}

// OpenFilename implements [vfs.VFSFilename].
func (v *replicated) OpenFilename(name *vfs.Filename, flags vfs.OpenFlag) (vfs.File, vfs.OpenFlag, error) {
	switch {
	case name == nil || flags&(vfs.OPEN_MEMORY|vfs.OPEN_DELETEONCLOSE) != 0:
		return vfsutil.WrapOpenFilename(v.VFS, name, flags)
	case flags&vfs.OPEN_MAIN_DB != 0:
		return v.openMain(name, flags)
	case flags&vfs.OPEN_WAL != 0:
		return v.openWAL(name, flags)
	default:
		return vfsutil.WrapOpenFilename(v.VFS, name, flags)
	}
}

func (v *replicated) openMain(name *vfs.Filename, flags vfs.OpenFlag) (vfs.File, vfs.OpenFlag, error) {
	if v.internal {
		return v.openInternal(name, flags)
	}
	cfg, ok, err := v.configure(name)
	if err != nil {
		return nil, flags, vfs.SystemError(err, sqlite3.CANTOPEN)
	}
	if ok && flags&vfs.OPEN_READWRITE != 0 {
		if err := restoreFirst(name.String(), cfg, flags&vfs.OPEN_CREATE != 0); err != nil {
			return nil, flags, vfs.SystemError(err, sqlite3.CANTOPEN)
		}
	}
	file, outFlags, err := vfsutil.WrapOpenFilename(v.VFS, name, flags)
	// A connection that cannot write commits nothing. If it is the only one,
	// there is nothing to replicate.
	if err != nil || !ok || outFlags&vfs.OPEN_READONLY != 0 {
		return file, outFlags, err
	}
	db, err := databases.acquire(v, name.String(), file, cfg)
	if err != nil {
		file.Close()
		return nil, flags, vfs.SystemError(err, sqlite3.CANTOPEN)
	}
	db.enterWAL(file)
	switch {
	case db.nothingToShip():
	case db.mayLack():
		db.wake() // what an earlier run left
	default:
		db.ship.Look() // what others wrote meanwhile
	}
	return &mainFile{File: file, shm: vfsutil.WrapSharedMemory(file), db: db, sync: cfg.sync, syncTimeout: cfg.syncTimeout}, outFlags, nil
}

// openInternal opens the main database for the connection that cuts.
func (v *replicated) openInternal(name *vfs.Filename, flags vfs.OpenFlag) (vfs.File, vfs.OpenFlag, error) {
	db := databases.find(name.String())
	if db == nil {
		return nil, flags, sqlite3.CANTOPEN
	}
	file, flags, err := vfsutil.WrapOpenFilename(v.VFS, name, flags)
	if err != nil {
		return nil, flags, err
	}
	if id, err := identify(db.path, file); err != nil || id != db.file {
		file.Close()
		return nil, flags, vfs.SystemError(fmt.Errorf("walvfs: %s was replaced while it is open: close every connection to it first", db.path), sqlite3.CANTOPEN)
	}
	if db.main == nil {
		db.main = file
	}
	return &mainFile{File: file, shm: vfsutil.WrapSharedMemory(file), db: db, internal: true}, flags, nil
}

func (v *replicated) openWAL(name *vfs.Filename, flags vfs.OpenFlag) (vfs.File, vfs.OpenFlag, error) {
	file, flags, err := vfsutil.WrapOpenFilename(v.VFS, name, flags)
	if err != nil {
		return nil, flags, err
	}
	main, ok := vfsutil.UnwrapFile[*mainFile](name.DatabaseFile())
	if !ok {
		return file, flags, nil
	}
	if main.internal && main.db.wal == nil {
		main.db.wal = file
	}
	psow := main.DeviceCharacteristics()&vfs.IOCAP_POWERSAFE_OVERWRITE != 0
	return &walFile{File: file, main: main, psow: psow}, flags, nil
}

// Delete implements [vfs.VFS]. Deleting a WAL is a reset.
func (v *replicated) Delete(name string, syncDir bool) error {
	if path, ok := strings.CutSuffix(name, "-wal"); ok {
		if db := databases.find(path); db != nil {
			return db.capture.delete(name, func() error { return v.VFS.Delete(name, syncDir) })
		}
	}
	return v.VFS.Delete(name, syncDir)
}
