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

// own holds the files of a database that replication keeps open, so that the WAL and its
// index survive while the replica lacks commits. They belong to an internal connection,
// which turns on WAL mode and closes last. It opens them through a VFS that captures,
// because its close may checkpoint and delete the WAL.
//
// database.connMu guards it.
type own struct {
	conn *sqlite3.Conn // nil while resting: its files stay open without it
	main vfs.File      // the database file, below this VFS, with a shared lock
	wal  vfs.File      // the WAL, below this VFS, nil before SQLite has opened it
	shm  *os.File      // the WAL index
	mark *wal.Mark     // a free read mark for the next cut, nil if there is none

	resting bool // main and wal are open without their connection
}

// connectWAL opens the files and puts the database into WAL mode. It reports false if the
// database is empty: the application must write the first page.
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
	if d.shm == nil { // the open did not check a database that was empty then
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

// Connect opens a connection for replication. The first connection's files become d's. It
// implements [wal.Database].
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

// openIndex makes SQLite open the WAL and its index, and opens the index for cuts to
// read.
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
	// Open for writing because of the locks: on some systems, an exclusive lock needs it.
	shm, err := os.OpenFile(d.path+"-shm", os.O_RDWR, 0)
	if err != nil {
		return nil, fmt.Errorf("WAL index: %w", err)
	}
	if err := d.isOwnIndex(shm); err != nil {
		return nil, errors.Join(err, shm.Close())
	}
	return shm, nil
}

// isOwnIndex fails if a file is not the database's WAL index: after a rename, the path
// may belong to another database, whose read marks do not stop checkpoints of this one.
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

// touch makes a connection read the database's header and no schema. For that, SQLite
// opens the WAL and its index, and recovers the index if necessary.
func touch(conn *sqlite3.Conn) error { return conn.Exec("PRAGMA schema_version") }

// Repair implements [wal.Database].
func (d *database) Repair() error {
	if err := d.connect(); err != nil {
		return err
	}
	return errors.Join(touch(d.conn), d.rest())
}

// takeMark returns a read mark for a cut: usually the free one that putMark kept.
func (d *database) takeMark() (*wal.Mark, error) {
	if m := d.mark; m != nil {
		d.mark = nil
		return m, nil
	}
	return wal.NewMark(d)
}

// putMark ends a read transaction, and keeps its mark for the next cut.
func (d *database) putMark(m *wal.Mark) error {
	err := m.End()
	if d.mark != nil || err != nil {
		return errors.Join(err, m.Close())
	}
	d.mark = m
	return nil
}

// disconnect closes the database's files. If no other connection has the database open,
// SQLite checkpoints and deletes the WAL. It needs d.connMu.
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

// closeLast closes the internal connection after all other files; it opens a resting
// connection again first.
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
		return err // the next open reads the WAL
	}
	if d.persistWAL.Load() {
		d.conn.FileControl("main", sqlite3.FCNTL_PERSIST_WAL, true)
	}
	return errors.Join(err, d.conn.Close())
}
