// Package sidecar is the one file that walvfs keeps beside a database. It holds
// what this copy of the database remembers of its replica, and which pages the
// replica does not have:
//
//	app.db
//	app.db-walvfs   1b2f9c3d {"version":1,"node":…,"replica":…,"inode":…,"acked":{…}}
//	                77c0e1a9 {"epoch":…,"scanned":…,"dirty":…}
//	                …
//
// Each line is the CRC-32C of its JSON, in 8 hexadecimal digits, and the JSON. The
// first line is the [Sidecar], each one after it a [State] that replaces the one
// before, or adds pages to it. The file grows by a state when an upload begins and
// ends, and when the WAL starts over, and is replaced as a whole now and then.
//
// Correctness never depends on it: every use checks it against the files and the
// replica's tip, and what is not proven is not assumed.
package sidecar

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"math/rand/v2"
	"os"
	"slices"
	"time"

	"github.com/RoaringBitmap/roaring/v2"

	"github.com/walvfs/walvfs/format"
)

// Suffix is appended to a database's file name to name its sidecar.
const Suffix = "-walvfs"

// ErrInvalid: the bytes are not a sidecar, or not one that is whole.
var ErrInvalid = errors.New("not a valid sidecar")

// A Sidecar is the content of the file.
type Sidecar struct {
	Version int    `json:"version"` // 1
	NodeID  uint64 `json:"node"`    // of this copy of the database
	Replica string `json:"replica"` // URL, without secrets
	File    FileID `json:"file"`    // the database file; another one's sidecar belongs to a copy

	// Acked is the last file that the replica acknowledged, or that this database
	// was restored from. Intents are those after it that were being uploaded: the
	// store may have any one of them, or get it yet.
	Acked   *Mark  `json:"acked,omitempty"`
	Intents []Mark `json:"intents,omitempty"`

	// Restored: the database was restored, and has not been opened since.
	Restored bool `json:"restored,omitempty"`

	// DiskLost: the database lacks commits that the replica has, and nobody has
	// decided yet which of the two is right.
	DiskLost bool `json:"disk_lost,omitempty"`

	// State is the newest one, nil if there is none that is whole.
	State *State `json:"-"`
}

// A Mark identifies a file of the replica.
type Mark struct {
	TXID     format.TXID     `json:"txid"`
	Checksum format.Checksum `json:"checksum"` // the file checksum in its trailer

	// Rebase: it has another page size than the file before, and the snapshot that
	// a restore then starts with may be missing.
	Rebase bool `json:"rebase,omitempty"`
}

// A State says which pages the replica may not have: those of Dirty, all above
// Floor, and those that have a frame after Scanned in the WAL of that epoch. While
// the WAL starts over, it may be of either epoch.
type State struct {
	// More: the pages of Dirty come on top of the state's before. All else replaces it.
	More bool `json:"more,omitempty"`

	Acked   *Mark  `json:"acked,omitempty"`   // if it is newer than the sidecar's
	Intents []Mark `json:"intents,omitempty"` // beside the sidecar's

	// Unsynced: a connection has synchronous=off, so that a power loss may take
	// pages that no WAL has any more, unless the database was closed.
	Unsynced bool `json:"unsynced,omitempty"`

	Epoch    format.Salt `json:"epoch"`             // of the WAL, zero if it is empty
	Scanned  uint32      `json:"scanned,omitempty"` // frames whose pages are in Dirty, or in the replica
	Checksum [2]uint32   `json:"checksum"`          // of frame Scanned

	// Trail are frames of the epoch that the replica was cut at, ascending.
	Trail []Frame `json:"trail,omitempty"`

	Previous        format.Salt `json:"previous,omitzero"`          // the epoch before
	PreviousScanned uint32      `json:"previous_scanned,omitempty"` // in it

	PageSize uint32  `json:"page_size"`        // bytes
	Floor    uint32  `json:"floor"`            // pages; 0: every page is dirty
	Dirty    []byte  `json:"dirty,omitempty"`  // page numbers, a Roaring bitmap in the portable format
	Closed   *Closed `json:"closed,omitempty"` // the database file, if it was closed without a WAL
}

// A Frame of a WAL. Its checksum covers all frames before it.
type Frame struct {
	Number   uint32    `json:"frame"`
	Checksum [2]uint32 `json:"checksum"`
}

// FileID tells a file from its copies. Devices are left out: their numbers change
// when a volume is attached again.
type FileID struct {
	Inode uint64 `json:"inode"`
	Birth int64  `json:"birth,omitempty"` // nanoseconds since 1970, 0 where it is not known
}

// Closed is a database file as it was left.
type Closed struct {
	Size  int64     `json:"size"` // bytes
	MTime time.Time `json:"mtime"`
}

// ClosedAs returns what tells whether a file was written to since.
func ClosedAs(info fs.FileInfo) *Closed {
	return &Closed{Size: info.Size(), MTime: info.ModTime().UTC()}
}

// Equal reports whether a file is as it was left.
func (c *Closed) Equal(now *Closed) bool {
	return c.Size == now.Size && c.MTime.Equal(now.MTime)
}

// New returns the sidecar of a database that knows nothing of a replica yet.
func New(replica string, file FileID) Sidecar {
	return Sidecar{Version: 1, NodeID: file.nodeID(), Replica: replica, File: file}
}

// nodeID is the file's own, so that it outlives the sidecar: files have it that
// this one wrote. Where the file system knows no birth, it is a random number.
func (f FileID) nodeID() uint64 {
	if f.Birth == 0 {
		return rand.Uint64()
	}
	sum := sha256.Sum256(fmt.Appendf(nil, "walvfs %d %d", f.Inode, f.Birth))
	return binary.BigEndian.Uint64(sum[:])
}

// Load reads the sidecar of a database. The error is [fs.ErrNotExist] if there is
// none and [ErrInvalid] if it is damaged.
func Load(database string) (s Sidecar, err error) {
	b, err := os.ReadFile(database + Suffix)
	if err != nil {
		return s, err
	}
	if err := s.UnmarshalBinary(b); err != nil {
		return Sidecar{}, fmt.Errorf("%s: %w", database+Suffix, err)
	}
	return s, nil
}

// Inode returns the device and the inode of a file, zeros where the system has none.
func Inode(info fs.FileInfo) (device, inode uint64) { return inodeOf(info) }

// Identify returns what tells the file of that path from its copies.
func Identify(path string) (id FileID, err error) {
	info, err := os.Stat(path)
	if err != nil {
		return id, err
	}
	_, id.Inode = inodeOf(info)
	id.Birth = birthOf(path)
	return id, nil
}

// MarshalBinary encodes a sidecar and its state.
func (s Sidecar) MarshalBinary() ([]byte, error) {
	s.Version = 1
	b, err := line(nil, s)
	if err == nil && s.State != nil {
		b, err = line(b, s.State)
	}
	return b, err
}

// UnmarshalBinary decodes a sidecar. The error is [ErrInvalid] if the first line
// is damaged. If any other one is, the state is unknown, since a newer one may have
// been lost, but for the marks in it.
func (s *Sidecar) UnmarshalBinary(b []byte) error {
	*s = Sidecar{}
	rest, err := parse(b, s)
	if err != nil {
		return err
	}
	if s.Version != 1 {
		return fmt.Errorf("%w: version %d", ErrInvalid, s.Version)
	}
	state, err := lastState(rest)
	if err == nil {
		s.State = state
	}
	if state == nil {
		return nil
	}
	for _, m := range state.Intents {
		if !slices.Contains(s.Intents, m) {
			s.Intents = append(s.Intents, m)
		}
	}
	if state.Acked != nil {
		s.Acked = state.Acked
		s.Intents = After(s.Intents, *s.Acked)
	}
	return nil
}

// After returns the marks of later files than the acknowledged one.
func After(intents []Mark, acked Mark) []Mark {
	return slices.DeleteFunc(slices.Clone(intents), func(m Mark) bool { return m.TXID <= acked.TXID })
}

// lastState decodes the lines of states into the one that they add up to, nil if
// there are none. With an error comes the last one before what is damaged.
func lastState(lines []byte) (last *State, err error) {
	var dirty *roaring.Bitmap // nil: as in the last line
	for len(lines) > 0 {
		before := last
		last = new(State)
		if lines, err = parse(lines, last); err != nil {
			return before, err
		}
		switch {
		case !last.More:
			dirty = nil
			continue
		case before == nil:
			return last, fmt.Errorf("%w: a state adds to none", ErrInvalid)
		case dirty == nil:
			if dirty, err = before.Pages(); err != nil {
				return last, err
			}
		}
		more, err := last.Pages()
		if err != nil {
			return last, err
		}
		dirty.Or(more)
	}
	if dirty != nil {
		last.More = false
		last.Dirty, err = Pages(dirty)
	}
	return last, err
}

// Pages decodes Dirty.
func (s *State) Pages() (*roaring.Bitmap, error) {
	pages := roaring.New()
	if len(s.Dirty) == 0 {
		return pages, nil
	}
	if err := pages.UnmarshalBinary(s.Dirty); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	return pages, nil
}

// Pages encodes page numbers for Dirty.
func Pages(pages *roaring.Bitmap) ([]byte, error) {
	if pages.IsEmpty() {
		return nil, nil
	}
	return pages.ToBytes()
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// line appends the line of a value.
func line(b []byte, v any) ([]byte, error) {
	text, err := json.Marshal(v)
	if err != nil {
		return b, err
	}
	return fmt.Appendf(b, "%08x %s\n", crc32.Checksum(text, castagnoli), text), nil
}

// parse decodes the first line of b and returns the others.
func parse(b []byte, v any) (rest []byte, err error) {
	text, rest, ok := bytes.Cut(b, []byte("\n"))
	sum, text, _ := bytes.Cut(text, []byte(" "))
	if !ok || string(sum) != fmt.Sprintf("%08x", crc32.Checksum(text, castagnoli)) {
		return nil, fmt.Errorf("%w: checksum", ErrInvalid)
	}
	if err := json.Unmarshal(text, v); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	return rest, nil
}
