package vfs

import (
	"cmp"
	"errors"
	"fmt"
	"net/url"
	"os"
	"time"

	"github.com/ncruces/go-sqlite3"
	"github.com/ncruces/go-sqlite3/vfs"

	"github.com/walvfs/walvfs/vfs/internal/wal"
)

// own is what replication has open of a database, so that it is not closed while
// the replica lacks something: the WAL and its index stay in being. The files are
// those of an internal connection, which turns WAL mode on and is the last to
// close. They are opened through a VFS that captures: that close may be the one
// that checkpoints and deletes the WAL.
//
// It is guarded by database.connMu.
type own struct {
	conn *sqlite3.Conn // nil while it rests: its files stay open without it
	main vfs.File      // the database file, below this VFS, with a shared lock
	wal  vfs.File      // the WAL, below this VFS, nil if there is none yet
	shm  *os.File      // the WAL index
	mark *wal.Mark     // that no cut uses, nil if there is none

	resting bool // main and wal have been left by their connection
}

// connectWAL opens the files and puts the database into WAL mode. It reports false
// if the database is empty: that is for the application to change.
func (d *database) connectWAL() (ok bool, err error) {
	if d.shm != nil && d.inWAL.Load() {
		return true, nil
	}
	if err := d.connect(); err != nil {
		return false, err
	}
	mode, err := readMode(d.main)
	if err != nil || mode == modeEmpty {
		return false, err
	}
	if d.shm == nil { // a database that was empty when it was opened was not looked at
		if err := sameOnDisk(d.path, d.main); err != nil {
			return false, err
		}
	}
	if mode != modeWAL {
		if err := d.switchToWAL(); err != nil {
			return false, err
		}
	}
	d.inWAL.Store(true)
	if err := d.openIndex(); err != nil {
		return true, err
	}
	d.outside.Store(0)
	return true, nil
}

// connect opens the internal connection. It needs d.connMu.
func (d *database) connect() (err error) {
	if d.conn == nil {
		d.conn, err = d.Connect()
	}
	return err
}

var _ wal.Database = (*database)(nil)

// Connect opens a connection for replication. The first one's files become the
// database's. It implements [wal.Database].
func (d *database) Connect() (*sqlite3.Conn, error) {
	uri := url.URL{Scheme: "file", Opaque: (&url.URL{Path: d.path}).EscapedPath(), RawQuery: "vfs=" + d.vfsName}
	conn, err := sqlite3.OpenFlags(uri.String(), sqlite3.OPEN_READWRITE|sqlite3.OPEN_URI)
	if err != nil {
		return nil, fmt.Errorf("open a connection for replication: %w", err)
	}
	if err := conn.BusyTimeout(time.Second); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return conn, nil
}

func (d *database) switchToWAL() error {
	stmt, _, err := d.conn.Prepare("PRAGMA journal_mode=wal")
	if err == nil {
		defer stmt.Close()
		if stmt.Step() && stmt.ColumnText(0) == "wal" {
			return nil
		}
		err = stmt.Err()
	}
	return fmt.Errorf("put the database into WAL mode, which replication needs: %w (finish SELECTs that are still open, and remove PRAGMA locking_mode=exclusive)", cmp.Or(err, errNotWAL))
}

var errNotWAL = errors.New("SQLite refused")

// openIndex has SQLite open the WAL and its index, and opens the index for the
// cuts to read.
func (d *database) openIndex() error {
	if err := touch(d.conn); err != nil {
		return err
	}
	if d.shm == nil {
		shm, err := d.OpenIndex()
		if err != nil {
			return err
		}
		d.shm = shm
		d.ledger.Attach(shm)
	}
	return d.rest()
}

// OpenIndex implements [wal.Database].
func (d *database) OpenIndex() (*os.File, error) {
	// Writing is for the locks: an exclusive one would need it on some systems.
	shm, err := os.OpenFile(d.path+"-shm", os.O_RDWR, 0)
	if err != nil {
		return nil, fmt.Errorf("WAL index: %w", err)
	}
	if err := d.isOwnIndex(shm); err != nil {
		return nil, errors.Join(err, shm.Close())
	}
	return shm, nil
}

// isOwnIndex fails if a file is not the database's WAL index: after a rename, the
// database's name may be another one's, whose marks stop no checkpoint of this one.
func (d *database) isOwnIndex(shm *os.File) error {
	if d.shm == nil {
		if id, err := identifyPath(d.path); err != nil || id != d.file {
			return errors.Join(errReplaced, err)
		}
		return nil
	}
	first, err := d.shm.Stat()
	if err != nil {
		return err
	}
	if now, err := shm.Stat(); err != nil || !os.SameFile(first, now) {
		return errors.Join(errReplaced, err)
	}
	return nil
}

// touch has a connection read the database's header and no schema. SQLite opens
// the WAL and its index for that, and mends the index if it needs to.
func touch(conn *sqlite3.Conn) error { return conn.Exec("PRAGMA schema_version") }

// Repair implements [wal.Database].
func (d *database) Repair() error {
	if err := d.connect(); err != nil {
		return err
	}
	return errors.Join(touch(d.conn), d.rest())
}

// takeMark returns a read mark for a cut. Most of the time there is one that no
// other cut uses.
func (d *database) takeMark() (*wal.Mark, error) {
	if m := d.mark; m != nil {
		d.mark = nil
		return m, nil
	}
	return wal.NewMark(d)
}

// putMark ends a read transaction, and takes its mark back.
func (d *database) putMark(m *wal.Mark) error {
	err := m.End()
	if d.mark != nil || err != nil {
		return errors.Join(err, m.Close())
	}
	d.mark = m
	return nil
}

// disconnect lets go of the database. If nobody else has it open, SQLite checkpoints
// and deletes the WAL. It needs d.connMu.
func (d *database) disconnect() (err error) {
	if d.main == nil {
		return nil
	}
	if d.mark != nil {
		err = d.mark.Close()
	}
	if d.conn != nil || d.shm != nil {
		err = errors.Join(err, d.closeLast())
	}
	if d.shm != nil {
		err = errors.Join(err, d.shm.Close())
	}
	d.own = own{}
	return err
}

// closeLast closes the internal connection, once more opened if it rests, after
// all other files.
func (d *database) closeLast() (err error) {
	if d.conn == nil {
		if d.conn, err = d.Connect(); err == nil {
			err = touch(d.conn)
		}
	}
	if d.resting {
		err = errors.Join(err, d.closeFiles())
	}
	if d.conn == nil {
		return err // the next open finds the WAL
	}
	if d.persistWAL.Load() {
		d.conn.FileControl("main", sqlite3.FCNTL_PERSIST_WAL, true)
	}
	return errors.Join(err, d.conn.Close())
}
