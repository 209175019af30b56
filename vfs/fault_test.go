package vfs_test

import (
	"math/rand/v2"
	"sync"
	"sync/atomic"

	"github.com/ncruces/go-sqlite3"
	"github.com/ncruces/go-sqlite3/util/vfsutil"
	sqlitevfs "github.com/ncruces/go-sqlite3/vfs"

	"github.com/walvfs/walvfs/vfs"
)

// faults is the VFS below the replicating VFS. It makes the application's writes fail as
// a disk would.
type faults struct {
	sqlitevfs.VFS

	mu    sync.Mutex
	hooks map[string]*faultHooks // by the path of the main database
}

// faultHooks are called before an operation on a file of one database takes
// effect. An error makes the operation fail; a write may then have written n
// bytes.
type faultHooks struct {
	write    func(file string, p []byte, off int64) (n int, err error)
	written  func(file string, p []byte, off int64) // after a write
	sync     func(file string) error
	truncate func(file string, size int64) error
	open     func(file string) error
	read     func(file string, p []byte, off int64) error
	told     func() error // CommitPhaseTwo
}

var injected = &faults{VFS: sqlitevfs.Find(""), hooks: map[string]*faultHooks{}}

func init() {
	sqlitevfs.Register("faults", injected)
	vfs.Register("replicated-faults", vfs.Options{Base: "faults"})
}

// on sets the hooks of a database.
func (v *faults) on(path string, h *faultHooks) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.hooks[path] = h
}

func (v *faults) OpenFilename(name *sqlitevfs.Filename, flags sqlitevfs.OpenFlag) (sqlitevfs.File, sqlitevfs.OpenFlag, error) {
	v.mu.Lock()
	h := v.hooks[name.Database()]
	v.mu.Unlock()
	kind := "db"
	if flags&sqlitevfs.OPEN_WAL != 0 {
		kind = "wal"
	}
	if h != nil && h.open != nil {
		if err := h.open(kind); err != nil {
			return nil, flags, sqlitevfs.SystemError(err, sqlite3.CANTOPEN)
		}
	}
	file, flags, err := vfsutil.WrapOpenFilename(v.VFS, name, flags)
	if err != nil || h == nil || flags&(sqlitevfs.OPEN_MAIN_DB|sqlitevfs.OPEN_WAL) == 0 {
		return file, flags, err
	}
	return &faultFile{File: file, kind: kind, hooks: h}, flags, nil
}

type faultFile struct {
	sqlitevfs.File
	kind  string
	hooks *faultHooks
}

func (f *faultFile) ReadAt(p []byte, off int64) (int, error) {
	if f.hooks.read != nil {
		if err := f.hooks.read(f.kind, p, off); err != nil {
			return 0, sqlitevfs.SystemError(err, sqlite3.IOERR_READ)
		}
	}
	return f.File.ReadAt(p, off)
}

func (f *faultFile) WriteAt(p []byte, off int64) (int, error) {
	if f.hooks.write != nil {
		if n, err := f.hooks.write(f.kind, p, off); err != nil {
			f.File.WriteAt(p[:n], off)
			return n, sqlitevfs.SystemError(err, sqlite3.IOERR_WRITE)
		}
	}
	n, err := f.File.WriteAt(p, off)
	if f.hooks.written != nil {
		f.hooks.written(f.kind, p, off)
	}
	return n, err
}

func (f *faultFile) Sync(flags sqlitevfs.SyncFlag) error {
	if f.hooks.sync != nil {
		if err := f.hooks.sync(f.kind); err != nil {
			return sqlitevfs.SystemError(err, sqlite3.IOERR_FSYNC)
		}
	}
	return f.File.Sync(flags)
}

func (f *faultFile) CommitPhaseTwo() error {
	if f.hooks.told != nil {
		return f.hooks.told()
	}
	return sqlite3.NOTFOUND
}

func (f *faultFile) Truncate(size int64) error {
	if f.hooks.truncate != nil {
		if err := f.hooks.truncate(f.kind, size); err != nil {
			return sqlitevfs.SystemError(err, sqlite3.IOERR_TRUNCATE)
		}
	}
	return f.File.Truncate(size)
}

func (f *faultFile) Unwrap() sqlitevfs.File               { return f.File }
func (f *faultFile) SharedMemory() sqlitevfs.SharedMemory { return vfsutil.WrapSharedMemory(f.File) }
func (f *faultFile) LockState() sqlitevfs.LockLevel       { return vfsutil.WrapLockState(f.File) }
func (f *faultFile) PersistWAL() bool                     { return vfsutil.WrapPersistWAL(f.File) }
func (f *faultFile) SetPersistWAL(keep bool)              { vfsutil.WrapSetPersistWAL(f.File, keep) }
func (f *faultFile) PowersafeOverwrite() bool             { return vfsutil.WrapPowersafeOverwrite(f.File) }
func (f *faultFile) SetPowersafeOverwrite(psow bool) {
	vfsutil.WrapSetPowersafeOverwrite(f.File, psow)
}
func (f *faultFile) SizeHint(size int64) error { return vfsutil.WrapSizeHint(f.File, size) }
func (f *faultFile) HasMoved() (bool, error)   { return vfsutil.WrapHasMoved(f.File) }

// sometimes makes one in so many writes and syncs of the WAL fail.
func sometimes(writes, syncs int) (*faultHooks, *atomic.Bool) {
	on := new(atomic.Bool)
	return &faultHooks{
		write: func(file string, p []byte, off int64) (int, error) {
			if on.Load() && file == "wal" && off > 0 && rand.IntN(writes) == 0 {
				return rand.IntN(len(p)), errInjected
			}
			return len(p), nil
		},
		sync: func(file string) error {
			if on.Load() && file == "wal" && rand.IntN(syncs) == 0 {
				return errInjected
			}
			return nil
		},
	}, on
}
