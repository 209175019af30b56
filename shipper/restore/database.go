package restore

import (
	"fmt"
	"io"

	"github.com/walvfs/walvfs/format"
)

// diskFile is what a restore does to the disk, apart from names. It exists so
// that tests can make it fail.
type diskFile interface {
	io.WriterAt
	Truncate(size int64) error
	Sync() error
}

// database is a database file under construction: between two files of the
// plan, it is what the database was at one TXID.
type database struct {
	file     diskFile
	pageSize uint32
	pages    uint32 // size after the last file

	h      format.LTXHeader // of the file that is being applied
	before uint32           // size before it
	above  uint32           // pages written beyond that size

	// Pages that follow each other are written at once: at 4 KiB a page, the
	// system calls would cost more than the decoding.
	run      []byte
	runStart int64

	last     format.FileInfo // applied
	checksum format.Checksum // of that file
}

const maxRun = 256 << 10

func newDatabase(file diskFile) *database {
	return &database{file: file, run: make([]byte, 0, maxRun)}
}

// begin starts to apply a file.
func (db *database) begin(h format.LTXHeader) error {
	switch {
	case h.MinTXID == 1:
		// A whole database. Nothing of what was there stays, not even its page size.
		if err := db.file.Truncate(0); err != nil {
			return fmt.Errorf("truncate the database: %w", pathless(err))
		}
		db.pageSize, db.pages = h.PageSize, 0
	case db.pageSize == 0:
		return fmt.Errorf("%w: the first file must hold the database from TXID 1, but begins at %s", format.ErrCorrupt, h.MinTXID)
	case db.pageSize != h.PageSize:
		return fmt.Errorf("%w: its page size is %d, the database's is %d", format.ErrCorrupt, h.PageSize, db.pageSize)
	}
	db.h, db.before, db.above = h, db.pages, 0
	return nil
}

// writePage takes a page of the file; they come in ascending order.
func (db *database) writePage(pgno uint32, page []byte) error {
	if pgno > db.before {
		db.above++
	}
	offset := int64(pgno-1) * int64(db.pageSize)
	if offset != db.runStart+int64(len(db.run)) || len(db.run)+len(page) > maxRun {
		if err := db.flush(); err != nil {
			return err
		}
		db.runStart = offset
	}
	db.run = append(db.run, page...)
	return nil
}

func (db *database) flush() error {
	if len(db.run) == 0 {
		return nil
	}
	_, err := db.file.WriteAt(db.run, db.runStart)
	db.run = db.run[:0]
	if err != nil {
		return fmt.Errorf("write the database at offset %d: %w", db.runStart, pathless(err))
	}
	return nil
}

// end finishes a file. A page by which the database grew and that the file
// lacks would be read as zeros.
func (db *database) end() error {
	if err := db.flush(); err != nil {
		return err
	}
	db.pages = db.h.Commit
	if grown := db.grown(); db.above != grown {
		return fmt.Errorf("%w: the database grows from %d to %d pages, but only %d of those %d are in it", format.ErrCorrupt, db.before, db.pages, db.above, grown)
	}
	if err := db.file.Truncate(int64(db.pages) * int64(db.pageSize)); err != nil {
		return fmt.Errorf("truncate the database to %d pages: %w", db.pages, pathless(err))
	}
	return nil
}

// grown counts the pages by which the database grew, without the lock page:
// that one is in no file and stays a hole.
func (db *database) grown() uint32 {
	if db.pages <= db.before {
		return 0
	}
	n := db.pages - db.before
	if lock := format.LockPage(db.pageSize); db.before < lock && lock <= db.pages {
		n--
	}
	return n
}
