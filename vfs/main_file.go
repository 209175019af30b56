package vfs

import (
	"context"
	"time"

	"github.com/ncruces/go-sqlite3/util/vfsutil"
	"github.com/ncruces/go-sqlite3/vfs"
)

// mainFile is one connection's main database file. One goroutine at a time uses it, as
// with its connection.
type mainFile struct {
	vfs.File
	shm      vfs.SharedMemory // of File: a commit calls SharedMemory ten times
	db       *database
	internal bool // of the connection that cuts

	checkpointing bool          // between CheckpointStart and CheckpointDone
	unsettled     bool          // a commit frame was written, but CommitPhaseTwo has not followed
	written       int64         // where the transaction's writes to the WAL end, bytes
	direct        bool          // the transaction has written the database file directly
	openedWAL     bool          // each connection does before its first transaction in WAL mode
	leftWAL       bool          // committed without a WAL, and still holds a lock
	wantsWAL      bool          // a write was refused because the database is not in WAL mode yet
	first         error         // why its commit without a WAL is unconfirmed, for its next statement
	committed     uint64        // the first cut that is known to hold its newest transaction, 0 for none
	sync          bool          // commits wait for the replica
	syncTimeout   time.Duration // how long they wait, 0 for ever
	cause         error         // of its last transaction that failed because of the replica
	conn          interface{ GetInterrupt() context.Context }
}

// mainFile forwards every optional interface: a missing interface changes SQLite's
// behaviour without an error.
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

// CommitPhaseTwo says that a transaction has ended, not what it committed.
//
// https://sqlite.org/c3ref/c_fcntl_begin_atomic_write.html#sqlitefcntlcommitphasetwo
func (f *mainFile) CommitPhaseTwo() error {
	logged := f.unsettled // the transaction is in the WAL, whether inWAL is set or not
	f.settle()
	f.written = 0
	switch {
	case f.internal:
	case !logged && (f.db.inWAL.Load() || !f.direct): // the transaction wrote nothing
	case !logged:
		if err := f.commitOutside(); err != nil {
			return err
		}
	default:
		f.db.ledger.Committed()
		f.committed = f.db.ship.NextCut()
		f.db.wake()
		if f.sync {
			// The transaction is committed. Other connections read and write meanwhile.
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

// WriteAt forwards, and notes pages that are written to the database without the WAL.
func (f *mainFile) WriteAt(p []byte, off int64) (int, error) {
	if !f.checkpointing {
		f.direct = true
		f.db.inWAL.Store(false)
		f.db.ledger.Direct(off, len(p))
	}
	return f.File.WriteAt(p, off)
}

// Truncate forwards, and notes a size that may be in no commit frame. A checkpoint also
// truncates after CheckpointDone, to the committed size.
func (f *mainFile) Truncate(size int64) error {
	if !f.checkpointing {
		f.direct = true
		f.db.ledger.DirectTruncate(size)
	}
	return f.File.Truncate(size)
}

// CheckpointStart notes that the following writes copy the WAL.
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

// left reports whether the connection closes, but leaves its file open and locked.
func (f *mainFile) left() bool { return f.internal && f.db.resting && f.File == f.db.main }

// SetPersistWAL forwards, and keeps the flag for the connection that closes last.
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
