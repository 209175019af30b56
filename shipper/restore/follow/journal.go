package follow

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"slices"
	"sync"

	"github.com/walvfs/walvfs/internal/statefile"
	"github.com/walvfs/walvfs/shipper/restore"
	"github.com/walvfs/walvfs/shipper/restore/internal/disk"
)

// applySuffix is the suffix of an incomplete journal's name.
const applySuffix = statefile.SuffixApply

// A journal is a rollback journal that holds the pages to write. Package disk describes
// its format.
type journal struct {
	file  *os.File
	disk  disk.File // the same file
	nonce uint32

	mu sync.Mutex
	// Guarded by mu.
	w       *bufio.Writer
	records uint32
	first   []byte    // page 1, changed before it is written
	leads   *position // the position after it, once it is finished
}

// journalSector is the bytes that a journal's header occupies.
const journalSector = 512

// runSize is how many bytes of pages are written to the copy at once.
const runSize = 256 << 10

// createJournal begins the next journal of a copy. It removes a journal left by an
// earlier step.
func createJournal(database string, hooks disk.Hooks) (*journal, error) {
	name := database + applySuffix
	if err := os.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, createError(name, err)
	}
	f, err := statefile.Create(name, database)
	if err != nil {
		return nil, createError(name, err)
	}
	j := &journal{file: f, disk: hooks.Wrap(name, f), nonce: rand.Uint32()}
	j.w = bufio.NewWriterSize(io.NewOffsetWriter(j.disk, 0), 256<<10)
	_, err = j.w.Write(make([]byte, journalSector))
	return j, err
}

var _ restore.PageSink = &journal{}

// Reset does nothing: each page comes once.
func (j *journal) Reset() error { return nil }

// WritePages adds pages of the database.
func (j *journal) WritePages(pageSize int, number uint32, pages []byte) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	for page := range slices.Chunk(pages, pageSize) {
		if number == 1 {
			j.first = slices.Clone(page)
		} else if err := j.add(number, page); err != nil {
			return &restore.Error{Op: "write", Name: j.file.Name(), Err: disk.Pathless(err)}
		}
		number++
	}
	return nil
}

func (j *journal) add(number uint32, page []byte) error {
	var b [4]byte
	binary.BigEndian.PutUint32(b[:], number)
	j.w.Write(b[:])
	j.w.Write(page)
	binary.BigEndian.PutUint32(b[:], disk.JournalChecksum(j.nonce, page))
	_, err := j.w.Write(b[:]) // the writer keeps its error
	j.records++
	return err
}

// finish makes the journal complete and durable.
func (j *journal) finish(at position, first []byte) error {
	if err := j.add(1, first); err != nil {
		return err
	}
	if err := j.w.Flush(); err != nil {
		return err
	}
	b := []byte(disk.JournalMagic)
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

// readNonce reads the nonce that distinguishes a journal from every other.
func readNonce(f io.ReaderAt) (nonce uint32, err error) {
	b := make([]byte, disk.JournalHeader)
	if _, err := f.ReadAt(b, 0); err != nil {
		return 0, err
	}
	if string(b[:8]) != disk.JournalMagic {
		return 0, errors.New("not a journal")
	}
	return binary.BigEndian.Uint32(b[12:]), nil
}

// replay calls write with each run of pages, and returns the size of the resulting
// database in bytes.
func replay(f io.ReaderAt, write func(pages []byte, offset int64) error) (size int64, err error) {
	head := make([]byte, disk.JournalHeader)
	if _, err := f.ReadAt(head, 0); err != nil {
		return 0, err
	}
	records, pages := binary.BigEndian.Uint32(head[8:]), binary.BigEndian.Uint32(head[16:])
	nonce, pageSize := binary.BigEndian.Uint32(head[12:]), int64(binary.BigEndian.Uint32(head[24:]))
	record := make([]byte, 4+pageSize+4)
	r := bufio.NewReaderSize(io.NewSectionReader(f, journalSector, int64(records)*int64(len(record))), runSize)
	run, offset := make([]byte, 0, runSize+64<<10), int64(0)
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
		if binary.BigEndian.Uint32(record[4+pageSize:]) != disk.JournalChecksum(nonce, page) {
			return 0, fmt.Errorf("the record of page %d is damaged", binary.BigEndian.Uint32(record))
		}
		at := (int64(binary.BigEndian.Uint32(record)) - 1) * pageSize
		if at != offset+int64(len(run)) || len(run) >= runSize {
			if err := flush(); err != nil {
				return 0, err
			}
			offset = at
		}
		run = append(run, page...)
	}
	return int64(pages) * pageSize, flush()
}

// createError is for a file in the copy's directory.
func createError(name string, err error) error {
	return &restore.Error{Op: "create", Name: name, Err: disk.Pathless(err), Hint: disk.CreateHint(err)}
}
