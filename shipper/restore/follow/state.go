package follow

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"time"

	"github.com/walvfs/walvfs/format"
	"github.com/walvfs/walvfs/internal/statefile"
	"github.com/walvfs/walvfs/shipper/restore"
	"github.com/walvfs/walvfs/shipper/restore/internal/disk"
)

// followSuffix is the suffix of the name of a copy's state file.
const followSuffix = statefile.SuffixFollow

// followState is the value in that file's slots.
type followState struct {
	Replica string           `json:"replica"` // URL
	Copy    statefile.FileID `json:"copy"`    // the file that this state describes

	// The copy is at At, or, if a step was interrupted or has just ended, at Next. Its page
	// 1 and its journal show which.
	At   position  `json:"at"`
	Next *position `json:"next,omitempty"`
}

// position is a state of the copy.
type position struct {
	TXID     format.TXID `json:"txid"`
	Time     time.Time   `json:"time"`
	PageSize uint32      `json:"page_size"`
	Pages    uint32      `json:"pages"`
	Counter  uint32      `json:"counter"` // the change counter in page 1
	Nonce    uint32      `json:"nonce"`   // of the journal that led here

	// As long as the replica has one of these files, it has the copy's history: the newest
	// file that ended at TXID, and a snapshot before it.
	File   knownFile `json:"file,omitzero"`
	Anchor knownFile `json:"anchor,omitzero"`
}

// knownFile distinguishes a file from every other file with its key.
type knownFile struct {
	Level    int             `json:"level"`
	Min      format.TXID     `json:"min"`
	Max      format.TXID     `json:"max"`
	Size     int64           `json:"size"`
	Checksum format.Checksum `json:"checksum"`
}

func known(f format.FileInfo, sum format.Checksum) knownFile {
	return knownFile{f.Level, f.MinTXID, f.MaxTXID, f.Size, sum}
}

func (k knownFile) info() format.FileInfo {
	return format.FileInfo{Level: k.Level, MinTXID: k.Min, MaxTXID: k.Max, Size: k.Size}
}

// stamp changes page 1 of a database to the position's: in rollback mode, whatever mode
// the source has, and with the copy's own change counter.
//
// https://sqlite.org/fileformat2.html#the_database_header
func (p position) stamp(page []byte) error {
	if !bytes.HasPrefix(page, []byte("SQLite format 3\x00")) {
		return errors.New("its first page is not that of a SQLite database: it may be encrypted, and cannot be followed")
	}
	summed := page[20] == 8 && bytes.Equal(page[len(page)-8:], pageChecksum(page))
	page[18], page[19] = 1, 1
	binary.BigEndian.PutUint32(page[24:], p.Counter)
	binary.BigEndian.PutUint32(page[28:], p.Pages)
	binary.BigEndian.PutUint32(page[92:], p.Counter)
	if summed {
		copy(page[len(page)-8:], pageChecksum(page))
	}
	return nil
}

// pageChecksum computes the checksum that the checksum VFS stores at a page's end.
//
// https://sqlite.org/cksumvfs.html
func pageChecksum(page []byte) []byte {
	var s1, s2 uint32
	for body := page[:len(page)-8]; len(body) >= 8; body = body[8:] {
		s1 += binary.LittleEndian.Uint32(body) + s2
		s2 += binary.LittleEndian.Uint32(body[4:]) + s1
	}
	return binary.LittleEndian.AppendUint32(binary.LittleEndian.AppendUint32(nil, s1), s2)
}

// is reports whether a database has that header and size.
func (p position) is(header []byte, size int64) bool {
	return header[18] == 1 && header[19] == 1 &&
		binary.BigEndian.Uint32(header[24:]) == p.Counter &&
		binary.BigEndian.Uint32(header[28:]) == p.Pages &&
		binary.BigEndian.Uint32(header[92:]) == p.Counter &&
		size == int64(p.Pages)*int64(p.PageSize)
}

// followFile is the open and locked state file of a copy.
type followFile struct {
	followState // in force; zero if the file has none
	file        *os.File
	slots       *statefile.Slots
	damaged     bool // a copy exists, but the file holds no state
}

func openFollowFile(target string, hooks disk.Hooks) (*followFile, error) {
	name := target + followSuffix
	const tries = 20 // other processes may create and remove it
	for range tries {
		f, err := disk.OpenBeside(name)
		if errors.Is(err, fs.ErrNotExist) {
			f, err = statefile.Create(name, target)
		}
		if errors.Is(err, fs.ErrExist) {
			continue
		}
		if err != nil {
			return nil, createError(name, err)
		}
		if err := disk.Lock(f, 0, 1); err != nil {
			f.Close()
			if errors.Is(err, disk.ErrInUse) {
				err = errors.New("another process follows to this path")
			}
			return nil, &restore.Error{Op: "follow to", Name: target, Err: err}
		}
		if !disk.SameFile(f, name) { // removed between open and lock
			disk.Close(f)
			continue
		}
		s := &followFile{file: f}
		if err := s.load(target, hooks); err != nil {
			disk.Close(f)
			return nil, &restore.Error{Op: "read", Name: name, Err: disk.Pathless(err)}
		}
		return s, nil
	}
	return nil, &restore.Error{Op: "follow to", Name: target, Err: errors.New("other processes keep following to this path")}
}

// load reads the newest state written for the file at the path: before a copy replaces
// another, the file holds the states of both. If neither state was written for that file,
// it may have been moved, and load returns the newest state.
func (s *followFile) load(target string, hooks disk.Hooks) error {
	id, idErr := statefile.Identify(target)
	accept := func(value []byte) bool {
		var state followState
		return json.Unmarshal(value, &state) == nil && state.Copy == id
	}
	disk := struct {
		io.ReaderAt
		disk.File
	}{s.file, hooks.Wrap(s.file.Name(), s.file)}
	var err error
	if s.slots, err = statefile.OpenSlots(disk, accept); err != nil {
		return err
	}
	info, err := s.file.Stat()
	if err != nil {
		return err
	}
	if err := json.Unmarshal(s.slots.Value(), &s.followState); err != nil {
		s.followState, s.damaged = followState{}, info.Size() > 0 && idErr == nil
	}
	s.Copy = id
	return nil
}

// save makes a state durable, and puts it in force.
func (s *followFile) save(state followState) error {
	value, err := json.Marshal(state)
	if err == nil {
		err = s.slots.Put(value)
	}
	if err != nil {
		return &restore.Error{Op: "write", Name: s.file.Name(), Err: disk.Pathless(err)}
	}
	s.followState = state
	return nil
}

// close closes the file. It removes a file that belongs to no copy.
func (s *followFile) close() {
	if s.Replica == "" && !s.damaged {
		os.Remove(s.file.Name()) // while the lock is held
	}
	disk.Close(s.file)
}
