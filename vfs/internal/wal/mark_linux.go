package wal

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/walvfs/walvfs/format"
)

// A Mark is a read transaction of the WAL without SQLite: a shared lock on one of the WAL
// index's five read marks. While a mark of slots 1 to 4 is locked, checkpoints stop at
// its frame, and the WAL is not reset. Slot 0 is used when everything is checkpointed: it
// stops checkpoints, but not a reset.
//
// SQLite itself takes the write lock for a moment if it begins a read transaction while a
// commit writes the index (walIndexReadHdr): of 15,000 commits during 400 cuts, one then
// failed with SQLITE_BUSY. A Mark never takes that lock.
//
// https://sqlite.org/walformat.html#wal_locks
type Mark struct {
	shm    *os.File     // the lock belongs to this open file
	repair func() error // makes SQLite repair an index that gives no mark
	held   int64        // the locked byte, 0 for none
}

// NewMark returns a mark that is not held.
func NewMark(db Database) (*Mark, error) {
	shm, err := db.OpenIndex()
	if err != nil {
		return nil, err
	}
	return &Mark{shm: shm, repair: db.Repair}, nil
}

// Offsets in the -shm file.
const (
	shmBackfill = 96  // frames checkpointed
	shmMarks    = 100 // five read marks
	shmLocks    = 120 // eight lock bytes; those of the marks begin at byte 3
	shmReadLock = shmLocks + 3
	shmDeadMan  = shmLocks + 8 // locked by every connection that has the index open
	shmMarkEnd  = shmMarks + 5*4
)

// markTries is how often Begin tries to lock a mark, over some 200 ms. Another connection
// holds a mark exclusively only for microseconds, except for a checkpoint that truncates.
const markTries = 200

// ErrNoMark means that every read mark is locked exclusively, or none is usable.
var ErrNoMark = errors.New("no read mark of the WAL index can be locked")

// Begin locks the best mark. It fails with ErrNoMark if it cannot lock any.
func (m *Mark) Begin() error {
	for try := range markTries {
		if ok, err := m.try(); ok || err != nil {
			return err
		}
		// A writer that died between the two copies of the index's header leaves an index
		// that only SQLite's recovery repairs, and a new index has no mark. A read by
		// SQLite itself fixes both.
		if try == markTries/2 {
			if err := m.repair(); err != nil {
				return err
			}
		}
		time.Sleep(time.Duration(try) * 10 * time.Microsecond)
	}
	return ErrNoMark
}

func (m *Mark) try() (ok bool, err error) {
	var b, after [shmMarkEnd]byte
	if err := m.read(&b); err != nil {
		return false, err
	}
	index, err := format.ParseWALIndex(b[:])
	if err != nil {
		return false, nil // a commit is writing the index
	}
	if binary.NativeEndian.Uint32(b[shmBackfill:]) == index.MxFrame {
		if ok, err := m.lock(0); !ok || err != nil {
			return false, err
		}
		// The database file holds everything, unless a commit, checkpoint or reset came
		// before the lock.
		if err := m.read(&after); err != nil || !bytes.Equal(after[:shmMarks], b[:shmMarks]) {
			return false, errors.Join(err, m.End())
		}
		return true, nil
	}
	slot := bestMark(&b, index.MxFrame)
	if slot == 0 {
		return false, nil
	}
	if ok, err := m.lock(slot); !ok || err != nil {
		return false, err
	}
	if err := m.read(&after); err != nil || !holds(&after, slot) {
		return false, errors.Join(err, m.End())
	}
	return true, nil
}

// holds reports whether a locked mark stops checkpoints. A checkpoint that passed the
// slot before the lock has raised the mark to its target, or dropped it. A reader that a
// reset overtook may have set the mark to a frame of the epoch before: beyond the end of
// this epoch, it stops no checkpoint.
func holds(b *[shmMarkEnd]byte, slot int) bool {
	index, err := format.ParseWALIndex(b[:])
	return err == nil && mark(b, slot) <= index.MxFrame
}

func mark(b *[shmMarkEnd]byte, slot int) uint32 {
	return binary.NativeEndian.Uint32(b[shmMarks+4*slot:])
}

// bestMark returns the slot with the newest frame up to max, 0 if no slot is used.
func bestMark(b *[shmMarkEnd]byte, maxFrame uint32) (best int) {
	for slot := 1; slot < 5; slot++ {
		if v := mark(b, slot); v <= maxFrame && (best == 0 || v > mark(b, best)) {
			best = slot
		}
	}
	return best
}

func (m *Mark) read(b *[shmMarkEnd]byte) error {
	if _, err := m.shm.ReadAt(b[:], 0); err != nil {
		return fmt.Errorf("WAL index: %w", err)
	}
	return nil
}

func (m *Mark) lock(slot int) (ok bool, err error) {
	err = setLock(m.shm, unix.F_RDLCK, shmReadLock+int64(slot))
	if errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EACCES) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	m.held = shmReadLock + int64(slot)
	return true, nil
}

// End releases the mark.
func (m *Mark) End() error {
	if m.held == 0 {
		return nil
	}
	held := m.held
	m.held = 0
	return setLock(m.shm, unix.F_UNLCK, held)
}

// Close releases the mark for good.
func (m *Mark) Close() error { return m.shm.Close() }

// LockDeadMan takes SQLite's dead man's switch of a WAL index. It keeps the next
// connection from creating the index again while no connection has it open.
//
// https://sqlite.org/wal.html, and UNIX_SHM_DMS in os_unix.c
func LockDeadMan(index *os.File) error { return setLock(index, unix.F_RDLCK, shmDeadMan) }

// setLock sets an open file description lock, as go-sqlite3 does: it also conflicts with
// the locks of other connections of this process.
func setLock(f *os.File, kind int16, offset int64) error {
	conn, err := f.SyscallConn()
	if err != nil {
		return err
	}
	cerr := conn.Control(func(fd uintptr) {
		for {
			err = unix.FcntlFlock(fd, unix.F_OFD_SETLK, &unix.Flock_t{Type: kind, Start: offset, Len: 1})
			if err != unix.EINTR {
				return
			}
		}
	})
	return errors.Join(cerr, err)
}
