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

// A Mark is a read transaction of the WAL without SQLite: a shared lock on
// one of the WAL index's five read marks. While a mark of slots 1 to 4 is locked,
// checkpoints stop at its frame, and the WAL is not reset. Slot 0 is for when
// everything is checkpointed: it stops checkpoints, but not a reset.
//
// SQLite's own way to begin a read transaction takes the write lock for a moment
// when it meets a commit that is just writing the index (walIndexReadHdr): of
// 15,000 commits beside 400 cuts, one then failed with SQLITE_BUSY. This way
// never does.
//
// https://sqlite.org/walformat.html#wal_locks
type Mark struct {
	shm    *os.File     // the lock belongs to this open file
	repair func() error // has SQLite mend an index that gives no mark
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
	shmLocks    = 120 // eight lock bytes, of which the marks' begin at 3
	shmReadLock = shmLocks + 3
	shmDeadMan  = shmLocks + 8 // locked by everybody who has the index open
	shmMarkEnd  = shmMarks + 5*4
)

// markTries is how often a mark is tried, over some 200 ms. Whoever holds one
// exclusively does so for microseconds, but for a checkpoint that truncates.
const markTries = 200

// ErrNoMark: every read mark is taken exclusively, or none is usable.
var ErrNoMark = errors.New("no read mark of the WAL index can be locked")

// Begin locks the best mark. It fails with ErrNoMark if none can be had.
func (m *Mark) Begin() error {
	for try := range markTries {
		if ok, err := m.try(); ok || err != nil {
			return err
		}
		// A writer that died between the two copies of the index's header leaves
		// one that only SQLite's recovery mends, and an index that was just made
		// has no mark. A read of SQLite's own sees to both.
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
		return false, nil // a commit is writing it
	}
	if binary.NativeEndian.Uint32(b[shmBackfill:]) == index.MxFrame {
		if ok, err := m.lock(0); !ok || err != nil {
			return false, err
		}
		// The database file is all there is, if nothing was committed,
		// checkpointed or reset before the lock.
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

// holds reports whether a locked mark stops checkpoints. One that passed the slot
// before the lock has raised the mark to where it goes, or dropped it. A reader
// that was overtaken by a reset may have set it to a frame of the epoch before:
// beyond the end of this one, it stops nothing.
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

// LockDeadMan takes SQLite's dead man's switch of a WAL index, which keeps the next
// connection from making the index anew while no connection has it open.
//
// https://sqlite.org/wal.html, and UNIX_SHM_DMS in os_unix.c
func LockDeadMan(index *os.File) error { return setLock(index, unix.F_RDLCK, shmDeadMan) }

// setLock sets an open file description lock, as go-sqlite3 does: it conflicts
// with those of the other connections of this process, too.
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
