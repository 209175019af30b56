package vfs

import (
	"errors"
	"fmt"
	"net/url"
	"os"
	"time"

	"github.com/ncruces/go-sqlite3"
	"github.com/ncruces/go-sqlite3/vfs"
)

// ownConn is the connection that replication has to the database. It turns WAL
// mode on, keeps the WAL and its index in being until the replica has everything,
// and is the last to close. Its files are opened through a VFS that captures: its
// close may be the one that checkpoints and deletes the WAL.
//
// It is guarded by database.connMu.
type ownConn struct {
	conn *sqlite3.Conn
	main vfs.File // conn's database file, below this VFS
	wal  vfs.File // conn's WAL, below this VFS, nil if there is none yet
	shm  *os.File // the WAL index
	read readMark
}

// connectWAL opens the internal connection and puts the database into WAL mode.
// It reports false if the database is empty: that is for the application to
// change.
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
	if mode != modeWAL {
		if err := d.switchToWAL(); err != nil {
			return false, err
		}
	}
	d.inWAL.Store(true)
	return true, d.openIndex()
}

// connect opens the internal connection. It needs d.connMu.
func (d *database) connect() error {
	if d.conn != nil {
		return nil
	}
	uri := url.URL{Scheme: "file", Opaque: (&url.URL{Path: d.path}).EscapedPath(), RawQuery: "vfs=" + d.vfsName}
	conn, err := sqlite3.OpenFlags(uri.String(), sqlite3.OPEN_READWRITE|sqlite3.OPEN_URI)
	if err != nil {
		return fmt.Errorf("open a connection for replication: %w", err)
	}
	if err := conn.BusyTimeout(time.Second); err != nil {
		return errors.Join(err, conn.Close())
	}
	d.conn = conn
	return nil
}

func (d *database) switchToWAL() error {
	stmt, _, err := d.conn.Prepare("PRAGMA journal_mode=wal")
	if err != nil {
		return err
	}
	defer stmt.Close()
	if !stmt.Step() || stmt.ColumnText(0) != "wal" {
		return errors.Join(errors.New("the database cannot be put into WAL mode, which replication needs"), stmt.Err())
	}
	return nil
}

// openIndex has SQLite open the WAL and its index, by reading the database's
// header and no schema, and opens the index for the cuts to read.
func (d *database) openIndex() error {
	if err := d.conn.Exec("PRAGMA schema_version"); err != nil {
		return err
	}
	if d.shm != nil {
		return nil
	}
	// Writing is for the locks: an exclusive one would need it on some systems.
	shm, err := os.OpenFile(d.path+"-shm", os.O_RDWR, 0)
	if err != nil {
		return fmt.Errorf("WAL index: %w", err)
	}
	d.shm, d.read = shm, newReadMark(shm, d.conn)
	d.capture.attach(shm)
	return nil
}

// disconnect closes the internal connection. If it is the last one, SQLite
// checkpoints and deletes the WAL. It needs d.connMu.
func (d *database) disconnect() error {
	if d.conn == nil {
		return nil
	}
	if d.persistWAL.Load() {
		d.conn.FileControl("main", sqlite3.FCNTL_PERSIST_WAL, true)
	}
	err := d.conn.Close()
	if d.shm != nil {
		err = errors.Join(err, d.shm.Close())
	}
	d.ownConn = ownConn{}
	return err
}
