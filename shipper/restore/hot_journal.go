package restore

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"github.com/walvfs/walvfs/format"
	"github.com/walvfs/walvfs/shipper/restore/internal/disk"
)

// A hotJournal is a rollback journal that SQLite would play back: it holds pages from
// before a transaction that did not end. It decides which content is valid as SQLite's
// pager_playback does.
//
// https://sqlite.org/fileformat2.html#the_rollback_journal
type hotJournal struct {
	r        io.ReaderAt
	size     int64  // of the journal, bytes
	sector   int64  // bytes that each header takes
	pageSize int64  // bytes
	pages    uint32 // size of the database before the transaction
	nonce    uint32 // of the segment
	offset   int64
}

// minSector is the smallest sector that SQLite assumes before it has read a header.
const minSector = 512

// openHotJournal returns nil if a journal is not hot: it has no valid header, or the
// transaction is committed. The page size is the database's own, for a header without
// one.
func openHotJournal(r io.ReaderAt, size, pageSize int64) (*hotJournal, error) {
	if size < minSector {
		return nil, nil
	}
	head := make([]byte, disk.JournalHeader)
	if _, err := r.ReadAt(head, 0); err != nil {
		return nil, err
	}
	j := &hotJournal{
		r:        r,
		size:     size,
		pages:    binary.BigEndian.Uint32(head[16:]),
		sector:   int64(binary.BigEndian.Uint32(head[20:])),
		pageSize: int64(binary.BigEndian.Uint32(head[24:])),
	}
	if j.pageSize == 0 {
		j.pageSize = pageSize
	}
	if string(head[:8]) != disk.JournalMagic || !powerOfTwo(j.pageSize, 512) || !powerOfTwo(j.sector, 32) {
		return nil, nil
	}
	if committed, err := j.committed(); committed || err != nil {
		return nil, err
	}
	return j, nil
}

func powerOfTwo(n, least int64) bool { return n >= least && n <= 64<<10 && n&(n-1) == 0 }

// committed reports whether the journal belongs to a committed transaction over several
// databases: its super-journal is gone.
func (j *hotJournal) committed() (bool, error) {
	name, err := j.superJournal()
	if name == "" || err != nil {
		return false, err
	}
	info, err := os.Stat(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return true, nil
	case err != nil:
		return false, fmt.Errorf("its super-journal %s tells whether the transaction is committed: %w", name, disk.Pathless(err))
	case info.Size() == 0: // SQLite versions differ on its meaning
		return false, fmt.Errorf("its super-journal %s, which tells whether the transaction is committed, is empty", name)
	}
	return false, nil
}

// superJournal returns the name at the end of the journal, "" if absent.
func (j *hotJournal) superJournal() (string, error) {
	const most = 512 // bytes of a name
	var end [16]byte // length, checksum, magic
	if _, err := j.r.ReadAt(end[:], j.size-int64(len(end))); err != nil {
		return "", err
	}
	length := int64(binary.BigEndian.Uint32(end[:]))
	if string(end[8:]) != disk.JournalMagic || length == 0 || length > most || length > j.size-int64(len(end)) {
		return "", nil
	}
	name := make([]byte, length)
	if _, err := j.r.ReadAt(name, j.size-int64(len(end))-length); err != nil {
		return "", err
	}
	var signed, unsigned uint32 // char is signed or not, depending on SQLite's compiler
	for _, b := range name {
		signed += uint32(int8(b))
		unsigned += uint32(b)
	}
	if sum := binary.BigEndian.Uint32(end[4:]); sum != signed && sum != unsigned {
		return "", nil
	}
	return string(name), nil
}

// playBack truncates the database to its size before the transaction, and writes the
// pages of all segments up to the first record that is incomplete or has a wrong checksum.
func (j *hotJournal) playBack(truncate func(size int64) error, write func(page []byte, offset int64) error) error {
	if err := truncate(int64(j.pages) * j.pageSize); err != nil {
		return err
	}
	record := make([]byte, 4+j.pageSize+4)
	for {
		records, err := j.nextSegment()
		if records == 0 || err != nil {
			return err
		}
		for range records {
			whole, err := j.playBackRecord(record, write)
			if !whole || err != nil {
				return err
			}
		}
	}
}

// nextSegment reads the header of the next segment that has records, and returns their
// number, 0 at the end.
func (j *hotJournal) nextSegment() (records uint32, err error) {
	head := make([]byte, disk.JournalHeader)
	for records == 0 {
		j.offset = (j.offset + j.sector - 1) / j.sector * j.sector
		if j.offset+j.sector > j.size {
			return 0, nil
		}
		if _, err := j.r.ReadAt(head, j.offset); err != nil && err != io.EOF {
			return 0, err
		}
		if string(head[:8]) != disk.JournalMagic {
			return 0, nil
		}
		records, j.nonce = binary.BigEndian.Uint32(head[8:]), binary.BigEndian.Uint32(head[12:])
		j.offset += j.sector
	}
	return records, nil // with synchronous=off, it is 0xffffffff: all records in the file
}

// playBackRecord reports whether the record is complete and valid.
func (j *hotJournal) playBackRecord(record []byte, write func(page []byte, offset int64) error) (bool, error) {
	n, err := j.r.ReadAt(record, j.offset)
	if err != nil && err != io.EOF {
		return false, err
	}
	if n < len(record) {
		return false, nil
	}
	j.offset += int64(len(record))
	number, page := binary.BigEndian.Uint32(record), record[4:4+j.pageSize]
	switch {
	case number == 0 || number == format.LockPage(uint32(j.pageSize)): // the super-journal's name
		return false, nil
	case number > j.pages:
		return true, nil
	case binary.BigEndian.Uint32(record[4+j.pageSize:]) != disk.JournalChecksum(j.nonce, page):
		return false, nil
	}
	return true, write(page, int64(number-1)*j.pageSize)
}
