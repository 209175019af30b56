package vfs

import (
	"context"
	"time"

	"github.com/ncruces/go-sqlite3/util/vfsutil"
	"github.com/ncruces/go-sqlite3/vfs"
)

// mainFile is one connection's main database file. It is used by one goroutine
// at a time, as its connection is.
type mainFile struct {
	vfs.File
	shm      vfs.SharedMemory // the file's: a commit asks for it ten times
	db       *database
	internal bool // of the connection that cuts

	checkpointing bool          // between CheckpointStart and CheckpointDone
	unsettled     bool          // a commit frame was written, but SQLite did not call it a success
	written       int64         // how far the transaction has written the WAL, bytes
	direct        bool          // the transaction has written the database file itself
	openedWAL     bool          // as each connection does before its first transaction in WAL mode
	leftWAL       bool          // committed without a WAL, and has a lock since
	wantsWAL      bool          // a write was refused until the database is in WAL mode
	first         error         // why its commit without a WAL is not confirmed, for its next statement
	committed     uint64        // the cut by which the replica has its newest transaction, 0 for none
	sync          bool          // commits wait for the replica
	syncTimeout   time.Duration // for so long, 0 for ever
	cause         error         // of its newest transaction that failed because of the replica
	conn          interface{ GetInterrupt() context.Context }
}

// Every optional interface is forwarded on purpose: one that is missing changes
// SQLite's behaviour without an error.
var (
	_ vfs.FileUnwrap             = (*mainFile)(nil)
	_ vfs.FileLockState          = (*mainFile)(nil)
	_ vfs.FilePersistWAL         = (*mainFile)(nil)
	_ vfs.FilePowersafeOverwrite = (*mainFile)(nil)
	_ vfs.FileChunkSize          = (*mainFile)(nil)
	_ vfs.FileSizeHint           = (*mainFile)(nil)
	_ vfs.FileHasMoved           = (*mainFile)(nil)
	_ vfs.FileOverwrite          = (*mainFile)(nil)
	_ vfs.FileSync               = (*mainFile)(nil)
	_ vfs.FileCommitPhaseTwo     = (*mainFile)(nil)
	_ vfs.FileBatchAtomicWrite   = (*mainFile)(nil)
	_ vfs.FileCheckpoint         = (*mainFile)(nil)
	_ vfs.FilePragma             = (*mainFile)(nil)
	_ vfs.FileBusyHandler        = (*mainFile)(nil)
	_ vfs.FileSharedMemory       = (*mainFile)(nil)
)

// CommitPhaseTwo tells that a transaction is over, not what it committed.
//
// https://sqlite.org/c3ref/c_fcntl_begin_atomic_write.html#sqlitefcntlcommitphasetwo
func (f *mainFile) CommitPhaseTwo() error {
	logged := f.unsettled // in the WAL, whatever replication knows of it
	f.settle()
	f.written = 0
	switch {
	case f.internal:
	case !logged && (f.db.inWAL.Load() || !f.direct): // it wrote nothing
	case !logged:
		if err := f.commitOutside(); err != nil {
			return err
		}
	default:
		f.db.ledger.Committed()
		f.committed = f.db.ship.NextCut()
		f.db.wake()
		if f.sync {
			// The transaction is committed. Others read and write meanwhile.
			if err := f.confirm(); err != nil {
				return err
			}
		}
	}
	return vfsutil.WrapCommitPhaseTwo(f.File)
}

func (f *mainFile) settle() {
	if f.unsettled {
		f.unsettled = false
		f.db.unsettled.Add(-1)
	}
}

// WriteAt forwards, and notes what reaches the database past the WAL.
func (f *mainFile) WriteAt(p []byte, off int64) (int, error) {
	if !f.checkpointing {
		f.direct = true
		f.db.inWAL.Store(false)
		f.db.ledger.Direct(off, len(p))
	}
	return f.File.WriteAt(p, off)
}

// Truncate forwards, and notes a size that no commit frame may have told. A
// checkpoint truncates after CheckpointDone, too: to the size that is committed.
func (f *mainFile) Truncate(size int64) error {
	if !f.checkpointing {
		f.direct = true
		f.db.ledger.DirectTruncate(size)
	}
	return f.File.Truncate(size)
}

// CheckpointStart tells that the writes that follow copy the WAL.
func (f *mainFile) CheckpointStart() {
	f.checkpointing = true
	vfsutil.WrapCheckpointStart(f.File)
}

// CheckpointDone ends what CheckpointStart began.
func (f *mainFile) CheckpointDone() {
	vfsutil.WrapCheckpointDone(f.File)
	f.checkpointing = false
}

// Close closes the file. The last connection's close waits for the replica.
func (f *mainFile) Close() error {
	if f.left() {
		return nil
	}
	f.settle()
	err := f.File.Close()
	switch {
	case !f.internal:
		databases.release(f.db)
	case f.File == f.db.main:
		f.db.main = nil
	}
	return err
}

// left reports whether the connection closes and leaves its file open, and locked.
func (f *mainFile) left() bool { return f.internal && f.db.resting && f.File == f.db.main }

// SetPersistWAL forwards, and keeps the wish for the connection that will be
// the last to close.
func (f *mainFile) SetPersistWAL(keep bool) {
	if !f.internal {
		f.db.persistWAL.Store(keep)
	}
	vfsutil.WrapSetPersistWAL(f.File, keep)
}

func (f *mainFile) Unwrap() vfs.File                { return f.File }
func (f *mainFile) LockState() vfs.LockLevel        { return vfsutil.WrapLockState(f.File) }
func (f *mainFile) PersistWAL() bool                { return vfsutil.WrapPersistWAL(f.File) }
func (f *mainFile) PowersafeOverwrite() bool        { return vfsutil.WrapPowersafeOverwrite(f.File) }
func (f *mainFile) SetPowersafeOverwrite(psow bool) { vfsutil.WrapSetPowersafeOverwrite(f.File, psow) }
func (f *mainFile) ChunkSize(size int)              { vfsutil.WrapChunkSize(f.File, size) }
func (f *mainFile) SizeHint(size int64) error       { return vfsutil.WrapSizeHint(f.File, size) }
func (f *mainFile) HasMoved() (bool, error)         { return vfsutil.WrapHasMoved(f.File) }
func (f *mainFile) Overwrite() error                { return vfsutil.WrapOverwrite(f.File) }
func (f *mainFile) BeginAtomicWrite() error         { return vfsutil.WrapBeginAtomicWrite(f.File) }
func (f *mainFile) CommitAtomicWrite() error        { return vfsutil.WrapCommitAtomicWrite(f.File) }
func (f *mainFile) RollbackAtomicWrite() error      { return vfsutil.WrapRollbackAtomicWrite(f.File) }
func (f *mainFile) BusyHandler(handler func() bool) { vfsutil.WrapBusyHandler(f.File, handler) }
func (f *mainFile) SharedMemory() vfs.SharedMemory  { return f.shm }

// SetDB forwards an interface that package vfs does not export, and remembers the
// connection.
func (f *mainFile) SetDB(db any) {
	f.conn, _ = db.(interface{ GetInterrupt() context.Context })
	if base, ok := f.File.(interface{ SetDB(any) }); ok {
		base.SetDB(db)
	}
}
