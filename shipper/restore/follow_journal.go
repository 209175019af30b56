package restore

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"slices"
	"sync"
)

// applySuffix makes the name of a journal that is not complete.
const applySuffix = "-walvfs-apply"

// A journal is a rollback journal that holds pages to be written.
//
//	0       8         12      16      20       24          512
//	| magic | records | nonce | pages | sector | page size | records ...
//
//	record  0      4              4+page size
//	        | page | page bytes   | checksum |
//
// https://sqlite.org/fileformat2.html#the_rollback_journal
type journal struct {
	file     *os.File
	disk     diskFile   // the same
	pageSize func() int // bytes; known before the first page comes
	nonce    uint32

	mu sync.Mutex
	// Guarded by mu.
	w       *bufio.Writer
	records uint32
	first   []byte    // page 1, which is changed before it is written
	leads   *position // to, once it is finished
}

const (
	journalMagic  = "\xd9\xd5\x05\xf9\x20\xa1\x63\xd7"
	journalSector = 512 // bytes
	journalHeader = 28  // bytes
)

func createJournal(name string, hooks hooks) (*journal, error) {
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return nil, createError(name, err)
	}
	j := &journal{file: f, disk: hooks.wrap(name, f), nonce: rand.Uint32()}
	j.w = bufio.NewWriterSize(io.NewOffsetWriter(j.disk, 0), 256<<10)
	_, err = j.w.Write(make([]byte, journalSector))
	return j, err
}

var _ diskFile = &journal{}

// WriteAt adds the pages that belong there in the database.
func (j *journal) WriteAt(b []byte, offset int64) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	size := j.pageSize()
	number := uint32(offset/int64(size)) + 1
	for page := range slices.Chunk(b, size) {
		if number == 1 {
			j.first = slices.Clone(page)
		} else if err := j.add(number, page); err != nil {
			return 0, err
		}
		number++
	}
	return len(b), nil
}

// Truncate and Sync are of the database: finish does what there is to do.
func (j *journal) Truncate(int64) error { return nil }
func (j *journal) Sync() error          { return nil }

func (j *journal) add(number uint32, page []byte) error {
	var b [4]byte
	binary.BigEndian.PutUint32(b[:], number)
	j.w.Write(b[:])
	j.w.Write(page)
	binary.BigEndian.PutUint32(b[:], journalChecksum(j.nonce, page))
	_, err := j.w.Write(b[:]) // an error of the writer stays
	j.records++
	return err
}

// journalChecksum is pager_cksum: of every 200th byte, from the end.
func journalChecksum(nonce uint32, page []byte) uint32 {
	for i := len(page) - 200; i > 0; i -= 200 {
		nonce += uint32(page[i])
	}
	return nonce
}

// finish makes the journal complete and durable.
func (j *journal) finish(at position, first []byte) error {
	if err := j.add(1, first); err != nil {
		return err
	}
	if err := j.w.Flush(); err != nil {
		return err
	}
	b := []byte(journalMagic)
	for _, n := range []uint32{j.records, j.nonce, at.Pages, journalSector, at.PageSize} {
		b = binary.BigEndian.AppendUint32(b, n)
	}
	if _, err := j.disk.WriteAt(b, 0); err != nil {
		return err
	}
	return j.disk.Sync()
}

// discard removes a journal that was not committed.
func (j *journal) discard() {
	j.file.Close()
	os.Remove(j.file.Name()) // the name that it was created with
}

// readNonce tells a journal from every other.
func readNonce(f io.ReaderAt) (nonce uint32, err error) {
	b := make([]byte, journalHeader)
	if _, err := f.ReadAt(b, 0); err != nil {
		return 0, err
	}
	if string(b[:8]) != journalMagic {
		return 0, errors.New("not a journal")
	}
	return binary.BigEndian.Uint32(b[12:]), nil
}

// replay calls write with each run of pages, and returns the size of the database
// that they make, in bytes.
func replay(f io.ReaderAt, write func(pages []byte, offset int64) error) (size int64, err error) {
	head := make([]byte, journalHeader)
	if _, err := f.ReadAt(head, 0); err != nil {
		return 0, err
	}
	records, pages := binary.BigEndian.Uint32(head[8:]), binary.BigEndian.Uint32(head[16:])
	nonce, pageSize := binary.BigEndian.Uint32(head[12:]), int64(binary.BigEndian.Uint32(head[24:]))
	record := make([]byte, 4+pageSize+4)
	r := bufio.NewReaderSize(io.NewSectionReader(f, journalSector, int64(records)*int64(len(record))), batchSize)
	run, offset := make([]byte, 0, batchSize+64<<10), int64(0)
	flush := func() error {
		if len(run) == 0 {
			return nil
		}
		defer func() { run = run[:0] }()
		return write(run, offset)
	}
	for range records {
		if _, err := io.ReadFull(r, record); err != nil {
			return 0, err
		}
		page := record[4 : 4+pageSize]
		if binary.BigEndian.Uint32(record[4+pageSize:]) != journalChecksum(nonce, page) {
			return 0, fmt.Errorf("the record of page %d is damaged", binary.BigEndian.Uint32(record))
		}
		at := (int64(binary.BigEndian.Uint32(record)) - 1) * pageSize
		if at != offset+int64(len(run)) || len(run) >= batchSize {
			if err := flush(); err != nil {
				return 0, err
			}
			offset = at
		}
		run = append(run, page...)
	}
	return int64(pages) * pageSize, flush()
}
