package statefile

import (
	"bytes"
	"encoding/json"
	"fmt"
	"path/filepath"
	"slices"

	"github.com/RoaringBitmap/roaring/v2"

	"github.com/walvfs/walvfs/format"
)

// A Record is what a copy of the database remembers of its replica.
type Record struct {
	NodeID  uint64 `json:"node"`    // of this copy of the database
	Replica string `json:"replica"` // URL, without secrets
	File    FileID `json:"file"`    // the database file; a copy of it has another one

	// Path and Machine are where the file was when the record was written: an
	// absolute path, and an identifier of the machine, "" if there is none.
	Path    string `json:"path"`
	Machine string `json:"machine,omitempty"`

	// Acked is the last file that the replica acknowledged, or that this database
	// was restored from. Intents are those after it that were being uploaded: the
	// store may have any one of them, or get it yet.
	Acked   *Mark  `json:"acked,omitempty"`
	Intents []Mark `json:"intents,omitempty"`

	// Restored: the database was restored, and has not been opened since.
	Restored bool `json:"restored,omitempty"`

	// Rewind: it was restored to an older TXID, from which history is to go on.
	Rewind bool `json:"rewind,omitempty"`

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

	// End is the last frame that it holds, of the WAL of that epoch; zero for none. An
	// intent is written beside the sync of the WAL, and the upload comes after both:
	// one whose frame the WAL does not have was never uploaded, unless the disk has lost
	// what it called durable.
	Epoch format.Salt `json:"epoch,omitzero"`
	End   Frame       `json:"end,omitzero"`
}

// A State says which pages the replica may not have: those of Dirty, all above
// Floor, and those that have a frame after Scanned in the WAL of that epoch. While
// the WAL starts over, it may be of either epoch.
type State struct {
	// More: the pages of Dirty come on top of the state's before. All else replaces it.
	More bool `json:"more,omitempty"`

	Acked   *Mark  `json:"acked,omitempty"`   // if it is newer than the record's
	Intents []Mark `json:"intents,omitempty"` // beside the record's

	// Unsynced: a connection has synchronous=off, so that a power loss may take
	// pages that no WAL has any more, unless the database was closed.
	Unsynced bool `json:"unsynced,omitempty"`

	Epoch    format.Salt `json:"epoch"`             // of the WAL, zero if it is empty
	Scanned  uint32      `json:"scanned,omitempty"` // frames that were durable, whose pages are in Dirty or in the replica
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

// New returns the record of a database that knows nothing of a replica yet.
func New(replica string, file FileID) Record {
	return Record{NodeID: file.nodeID(), Replica: replica, File: file}
}

// encode returns the record and its state, a line each.
func (r Record) encode(database string) ([]byte, error) {
	path, err := filepath.Abs(database)
	if err != nil {
		return nil, err
	}
	r.Path, r.Machine = path, machineID()
	b, err := json.Marshal(r)
	if err != nil || r.State == nil {
		return b, err
	}
	state, err := json.Marshal(r.State)
	return append(append(b, '\n'), state...), err
}

// decode is the opposite, with the lines that were appended. If some of them are torn,
// the state is unknown, since a newer one may have been lost, but for the marks in it.
func decode(s *slot) (r Record, err error) {
	record, state, ok := bytes.Cut(s.value, []byte("\n"))
	if err := json.Unmarshal(record, &r); err != nil {
		return Record{}, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	lines := s.lines
	if ok {
		lines = append([][]byte{state}, lines...)
	}
	last, err := lastState(lines)
	if err == nil && !s.torn {
		r.State = last
	}
	if last != nil {
		r.addMarks(last)
	}
	return r, nil
}

// addMarks adds the marks of a state that came after the record.
func (r *Record) addMarks(state *State) {
	for _, m := range state.Intents {
		if !slices.Contains(r.Intents, m) {
			r.Intents = append(r.Intents, m)
		}
	}
	if state.Acked != nil {
		r.Acked = state.Acked
		r.Intents = After(r.Intents, *r.Acked)
	}
}

// fileOf returns the file that a value was written for.
func fileOf(value []byte) FileID {
	var r struct{ File FileID }
	json.NewDecoder(bytes.NewReader(value)).Decode(&r)
	return r.File
}

// After returns the marks of later files than the acknowledged one.
func After(intents []Mark, acked Mark) []Mark {
	return slices.DeleteFunc(slices.Clone(intents), func(m Mark) bool { return m.TXID <= acked.TXID })
}

// lastState decodes the lines of states into the one that they add up to, nil if
// there are none. With an error comes the last one before what is damaged.
func lastState(lines [][]byte) (last *State, err error) {
	var dirty *roaring.Bitmap // nil: as in the last line
	for _, line := range lines {
		before := last
		last = new(State)
		if err := json.Unmarshal(line, last); err != nil {
			return before, fmt.Errorf("%w: %w", ErrInvalid, err)
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
