package restore

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"time"

	"github.com/walvfs/walvfs/format"
)

// followSuffix is appended to a copy's name to name the file that says what it is.
const followSuffix = "-walvfs-follow"

// followState is the content of that file.
type followState struct {
	Seq     uint64 `json:"seq"` // the highest one is the newest
	Replica string `json:"replica"`

	// The copy is at At, or, if a step was interrupted or has just ended, at Next: its
	// page 1 and its journal tell which.
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

	// As long as the replica has one of these files, it has the history that the copy
	// comes from: the newest file that ended at TXID, and a snapshot before it.
	File   knownFile `json:"file,omitzero"`
	Anchor knownFile `json:"anchor,omitzero"`
}

// knownFile tells a file from every other with its key.
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

// stamp makes page 1 of a database the position's: in rollback mode, whatever the
// source is in, and with the copy's own change counter.
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

// pageChecksum is what the checksum VFS keeps at a page's end.
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

// followFile is the file, open and locked. It has two places for a state, which are
// written in turn: whichever write a crash tears, the other one is whole.
type followFile struct {
	followState
	file *os.File
	disk diskFile // the same
}

const followSlot = 4096 // bytes

func openFollowFile(target string, hooks hooks) (*followFile, error) {
	name := target + followSuffix
	for {
		f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o600)
		if err != nil {
			return nil, createError(name, err)
		}
		if err := lockFile(f, 0, 1); err != nil {
			f.Close()
			if errors.Is(err, ErrInUse) {
				err = errors.New("another process follows to this path")
			}
			return nil, &Error{Op: "follow to", Name: target, Err: err}
		}
		if !sameFile(f, name) { // removed between open and lock
			f.Close()
			continue
		}
		s := &followFile{file: f, disk: hooks.wrap(name, f)}
		return s, s.load()
	}
}

func (s *followFile) load() error {
	b, err := io.ReadAll(io.NewSectionReader(s.file, 0, 2*followSlot))
	if err != nil {
		return &Error{Op: "read", Name: s.file.Name(), Err: pathless(err)}
	}
	for len(b) > 0 {
		slot := b[:min(followSlot, len(b))]
		b = b[len(slot):]
		line, _, _ := bytes.Cut(slot, []byte("\n"))
		sum, text, _ := bytes.Cut(line, []byte(" "))
		var state followState
		if string(sum) == fmt.Sprintf("%08x", crc32.ChecksumIEEE(text)) && json.Unmarshal(text, &state) == nil && state.Seq > s.Seq {
			s.followState = state
		}
	}
	return nil
}

// save makes a state durable.
func (s *followFile) save(state followState) error {
	state.Seq = s.Seq + 1
	text, err := json.Marshal(state)
	if err != nil {
		return err
	}
	b := make([]byte, followSlot)
	if n := copy(b, fmt.Appendf(nil, "%08x %s\n", crc32.ChecksumIEEE(text), text)); n == followSlot {
		return &Error{Op: "write", Name: s.file.Name(), Err: errors.New("the replica's URL is too long")}
	}
	if _, err = s.disk.WriteAt(b, int64(state.Seq%2)*followSlot); err == nil {
		err = s.disk.Sync()
	}
	if err != nil {
		return &Error{Op: "write", Name: s.file.Name(), Err: pathless(err)}
	}
	s.followState = state
	return nil
}

// forget is for when there is no copy after all.
func (s *followFile) forget() {
	s.disk.Truncate(0)
	s.followState = followState{}
}

// close leaves no file that says nothing.
func (s *followFile) close() {
	if s.Seq == 0 {
		os.Remove(s.file.Name()) // while the lock is held
	}
	s.file.Close()
}
