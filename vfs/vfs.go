package vfs

import (
	"fmt"
	"os"
	"strings"

	"github.com/ncruces/go-sqlite3"
	"github.com/ncruces/go-sqlite3/util/vfsutil"
	"github.com/ncruces/go-sqlite3/vfs"

	"github.com/walvfs/walvfs/internal/statefile"
)

// replicated is the VFS: it opens files of the VFS underneath and wraps the two kinds
// that see commits, main databases and their WALs.
type replicated struct {
	vfs.VFS
	name     string // the registered name, without internalSuffix
	opts     Options
	internal bool // opens the cut's own connections
}

var _ vfs.VFSFilename = (*replicated)(nil)

// Open implements [vfs.VFS]. SQLite calls OpenFilename instead, except for temporary
// files.
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
		createLike(name, flags, "-wal", "-shm")
		return v.openWAL(name, flags)
	case flags&vfs.OPEN_MAIN_JOURNAL != 0:
		createLike(name, flags, "-journal")
		return vfsutil.WrapOpenFilename(v.VFS, name, flags)
	default:
		return vfsutil.WrapOpenFilename(v.VFS, name, flags)
	}
}

// createLike creates files next to the database before SQLite does, with the database's
// mode and owner. SQLite in C gives its files this mode and owner, go-sqlite3 does not:
// files left by root, or by a process with another umask, would lock the application out.
// If createLike fails, SQLite fails, too, and reports it.
//
// The "-shm" is safe to create when the WAL is opened: the connection holds a shared lock
// on the database, and SQLite deletes the "-shm" only under an exclusive lock.
func createLike(name *vfs.Filename, flags vfs.OpenFlag, suffixes ...string) {
	database := name.Database()
	if flags&vfs.OPEN_CREATE == 0 || !exists(database) {
		return
	}
	for _, suffix := range suffixes {
		if exists(database + suffix) {
			continue
		}
		if f, err := statefile.Create(database+suffix, database); err == nil {
			f.Close()
		}
	}
}

func exists(name string) bool {
	_, err := os.Lstat(name)
	return err == nil
}

func (v *replicated) openMain(name *vfs.Filename, flags vfs.OpenFlag) (vfs.File, vfs.OpenFlag, error) {
	if v.internal {
		return v.openInternal(name, flags)
	}
	if flags&vfs.OPEN_READWRITE == 0 { // it commits nothing, and needs no replica
		if _, err := v.asked(name.URIParameters()); err != nil {
			return nil, flags, cannotOpen(name.String(), err)
		}
		return vfsutil.WrapOpenFilename(v.VFS, name, flags)
	}
	cfg, ok, err := v.configure(name)
	if err != nil {
		return nil, flags, cannotOpen(name.String(), err)
	}
	if !ok {
		return vfsutil.WrapOpenFilename(v.VFS, name, flags)
	}
	opened, err := restoreFirst(name.String(), cfg, flags&vfs.OPEN_CREATE != 0)
	if err != nil {
		return nil, flags, cannotOpen(name.String(), err)
	}
	defer opened()
	file, outFlags, created, err := v.openOrCreate(name, flags, cfg)
	// A connection that cannot write commits nothing. If it is the only one,
	// there is nothing to replicate.
	if err != nil || outFlags&vfs.OPEN_READONLY != 0 {
		return file, outFlags, err
	}
	db, err := v.acquire(name.String(), file, cfg)
	if err != nil {
		if created {
			databases.uncreate(name.String(), file)
		}
		file.Close()
		return nil, flags, cannotOpen(name.String(), err)
	}
	db.enterWAL(file)
	switch {
	case db.nothingToShip():
	case db.mayLack():
		db.wake() // ship what an earlier run did not
	default:
		db.ship.Look() // find commits of other programs
	}
	return &mainFile{File: file, shm: vfsutil.WrapSharedMemory(file), db: db, sync: cfg.durability == DurabilitySync, syncTimeout: cfg.syncTimeout}, outFlags, nil
}

// acquire returns the database of an open file, after it has checked that replication
// sees the same bytes as the disk has.
func (v *replicated) acquire(path string, file vfs.File, cfg settings) (*database, error) {
	if databases.find(path) == nil {
		if err := sameOnDisk(path, file); err != nil {
			return nil, err
		}
	}
	return databases.acquire(v, path, file, cfg)
}

func cannotOpen(path string, err error) error {
	return vfs.SystemError(fmt.Errorf("walvfs: open %s: %w", path, err), sqlite3.CANTOPEN)
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
		return nil, flags, vfs.SystemError(fmt.Errorf("walvfs: open %s: %w", db.path, errReplaced), sqlite3.CANTOPEN)
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
	main.openedWAL = true
	psow := main.DeviceCharacteristics()&vfs.IOCAP_POWERSAFE_OVERWRITE != 0
	return &walFile{File: file, main: main, psow: psow}, flags, nil
}

// Delete implements [vfs.VFS]. Deleting a WAL is a reset.
func (v *replicated) Delete(name string, syncDir bool) error {
	if path, ok := strings.CutSuffix(name, "-wal"); ok {
		if db := databases.find(path); db != nil {
			return db.ledger.Delete(name, func() error { return v.VFS.Delete(name, syncDir) })
		}
	}
	return v.VFS.Delete(name, syncDir)
}
