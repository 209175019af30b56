package vfs

import (
	"errors"
	"fmt"
	"time"

	"github.com/ncruces/go-sqlite3"
	"github.com/ncruces/go-sqlite3/util/vfsutil"
	"github.com/ncruces/go-sqlite3/vfs"
)

// A commit outside the WAL is replicated only once the database is in WAL mode, and the
// switch needs a moment at which no connection has a lock. The first commit of a new file
// is always such a commit, and SQLite offers no way to fail it: its connection waits when
// it unlocks the file, and its next statement fails if the replica did not confirm the
// commit. As long as a database is not in WAL mode, sync mode acknowledges no other
// commit.
//
//	new file: write ─ CommitPhaseTwo ─ Unlock(NONE) ─ WAL mode ─ upload ─ next statement
//	                        └ a SELECT that is still open, or exclusive locking, and
//	                          Unlock(NONE) does not come

// lookOutside is how long after a commit outside the WAL replication tries by itself to
// put the database into WAL mode. Usually the commit's own unlock has already done so.
const lookOutside = 100 * time.Millisecond

// commitOutside notes a commit without a WAL. In sync mode, it fails every such commit
// but the first.
func (f *mainFile) commitOutside() error {
	d := f.db
	first := d.outside.Add(1) == 1
	f.committed, f.leftWAL = d.ship.NextCut(), true
	d.ship.Note()
	time.AfterFunc(lookOutside, func() {
		if d.outside.Load() > 0 {
			d.ship.Look()
		}
	})
	if first || !f.sync {
		return nil
	}
	return f.fail(ErrUnconfirmed, fmt.Errorf("walvfs: committed locally, but not confirmed by the replica: %w", errOutside))
}

var errOutside = errors.New("the database cannot be put into WAL mode while a connection keeps its lock on the file (finish or reset the SELECT that is still open, and remove PRAGMA locking_mode=exclusive)")

// Lock forwards. It returns the error that CommitPhaseTwo could not return, and refuses
// writes that sync mode could not confirm.
func (f *mainFile) Lock(lock vfs.LockLevel) error {
	if f.internal {
		return f.File.Lock(lock)
	}
	if err := f.first; err != nil {
		f.first = nil
		return f.fail(ErrUnconfirmed, err)
	}
	if lock == vfs.LOCK_RESERVED && f.sync && !f.db.inWAL.Load() {
		if err := f.refuseOutside(); err != nil {
			return err
		}
	}
	err := f.File.Lock(lock)
	if err != nil && lock == vfs.LOCK_EXCLUSIVE && f.db.inWAL.Load() {
		// Replication has the file open, so no connection gets this lock. A last close
		// also tries, and continues without it.
		if !f.openedWAL { // an ATTACH that fails leaves no file that could return the cause
			f.db.log.Error("exclusive locking refused", "error", errExclusive)
		}
		return f.fail(sqlite3.IOERR_LOCK, errExclusive)
	}
	return err
}

var errExclusive = errors.New("walvfs: an exclusive lock would lock replication out (remove PRAGMA locking_mode=exclusive or journal_mode: without a schema, they reach attached databases, too)")

// refuseOutside refuses a write to a database that is not in WAL mode, unless it is the
// first write to a new file.
func (f *mainFile) refuseOutside() error {
	if f.leftWAL {
		return f.fail(ErrUnconfirmed, fmt.Errorf("walvfs: write refused: the replica has not confirmed an earlier commit: %w", errOutside))
	}
	mode, err := readMode(f.File)
	if err != nil || mode != modeRollback {
		return err
	}
	// SQLite's busy handler releases the file and retries.
	f.wantsWAL = true
	f.cause = errors.New("walvfs: write refused: the database is not in WAL mode yet, because another connection has a lock on the file")
	return sqlite3.BUSY
}

// SyncSuper forwards. SQLite calls it before a commit outside the WAL. If several files
// take part, SQLite ignores the result of CommitPhaseTwo.
func (f *mainFile) SyncSuper(super string) error {
	if super != "" && f.sync && !f.internal && f.db.outside.Load() > 0 && !f.db.inWAL.Load() {
		return f.fail(ErrUnconfirmed, fmt.Errorf("walvfs: write refused: the replica has not confirmed an earlier commit: %w", errOutside))
	}
	return vfsutil.WrapSyncSuper(f.File, super)
}

// Unlock forwards. After a commit without a WAL, such as the first commit of a new
// database, this is the first moment at which another connection can turn on WAL mode,
// and the application's next transaction begins after it.
func (f *mainFile) Unlock(lock vfs.LockLevel) error {
	if f.left() {
		return nil
	}
	f.direct = false
	err := f.File.Unlock(lock)
	if lock != vfs.LOCK_NONE || !f.leftWAL && !f.wantsWAL {
		return err
	}
	committed := f.leftWAL
	f.leftWAL, f.wantsWAL = false, false
	f.db.enterWAL(f.File)
	if committed {
		f.db.ship.Retry()
		if f.sync {
			f.confirmFirst()
		}
	}
	return err
}

// confirmFirst is confirm for a commit without a WAL, which can no longer fail: the
// connection's next statement fails instead.
func (f *mainFile) confirmFirst() {
	if err := f.confirmed(); err != nil {
		f.first = fmt.Errorf("walvfs: statement not run: the first commit of this database is made locally, but not confirmed by the replica: %w", err)
		f.because(ErrUnconfirmed, f.first)
		f.db.log.Error("the first commit of a new database is not confirmed by the replica; the connection's next statement fails", "error", err)
	}
}
