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

// A Record holds what a copy of the database remembers of its replica.
type Record struct {
	NodeID  uint64 `json:"node"`    // of this copy of the database
	Replica string `json:"replica"` // URL, without secrets
	File    FileID `json:"file"`    // the database file; a copy has another ID

	// Path and Machine say where the file was when the record was written: its absolute
	// path, and the identifier of the machine, "" if it has none.
	Path    string `json:"path"`
	Machine string `json:"machine,omitempty"`

	// Acked is the last file that the replica acknowledged, or from which this database
	// was restored. Intents are later files that were being uploaded: the store may have
	// any one of them, or may still receive it.
	Acked   *Mark  `json:"acked,omitempty"`
	Intents []Mark `json:"intents,omitempty"`

	// Restored: the database was restored, and has not been opened since.
	Restored bool `json:"restored,omitempty"`

	// Rewind: the database was restored to an older TXID, and continues from there.
	Rewind bool `json:"rewind,omitempty"`

	// DiskLost: the database lacks commits that the replica has, and it is not decided
	// yet which of the two is right.
	DiskLost bool `json:"disk_lost,omitempty"`

	// State is the newest state, nil if no state is whole.
	State *State `json:"-"`
}

// A Mark identifies a file of the replica.
type Mark struct {
	TXID     format.TXID     `json:"txid"`
	Checksum format.Checksum `json:"checksum"` // the file checksum in its trailer

	// Rebase: the file's page size differs from that of the file before, and the snapshot
	// with which a restore then starts may be missing.
	Rebase bool `json:"rebase,omitempty"`

	// End is the last frame that the file holds, of the WAL of that epoch; zero for none.
	// An intent is written concurrently with the sync of the WAL, and the upload comes
	// after both. So if the WAL does not have the frame, the file was never uploaded,
	// unless the disk has lost data that it had called durable.
	Epoch format.Salt `json:"epoch,omitzero"`
	End   Frame       `json:"end,omitzero"`
}

// A State says which pages the replica may not have: the pages in Dirty, all pages above
// Floor, and all pages with a frame after Scanned in the WAL of that epoch. While the WAL
// starts over, it may be of either epoch.
type State struct {
	// More: the pages of Dirty add to those of the state before. All other fields replace
	// its fields.
	More bool `json:"more,omitempty"`

	Acked   *Mark  `json:"acked,omitempty"`   // set if newer than the record's
	Intents []Mark `json:"intents,omitempty"` // in addition to the record's

	// Unsynced: a connection has synchronous=off, so a power loss may lose pages that no
	// WAL holds any more, unless the database was closed.
	Unsynced bool `json:"unsynced,omitempty"`

	Epoch    format.Salt `json:"epoch"`             // of the WAL, zero if it is empty
	Scanned  uint32      `json:"scanned,omitempty"` // number of durable frames whose pages are in Dirty or in the replica
	Checksum [2]uint32   `json:"checksum"`          // of frame Scanned

	// Trail lists the frames of the epoch at which the replica was cut, ascending.
	Trail []Frame `json:"trail,omitempty"`

	Previous        format.Salt `json:"previous,omitzero"`          // the epoch before
	PreviousScanned uint32      `json:"previous_scanned,omitempty"` // frames scanned in the epoch before

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

// New returns the record of a database without any knowledge of its replica.
func New(replica string, file FileID) Record {
	return Record{NodeID: file.nodeID(), Replica: replica, File: file}
}

// encode returns the record and its state, one line each.
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

// decode decodes a record and the lines that were appended to it. If some lines are torn,
// the state is unknown, since a newer state may have been lost; the marks in it are still
// valid.
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

// addMarks adds the marks of a state that was written after the record.
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

// fileOf returns the ID of the file that a value was written for.
func fileOf(value []byte) FileID {
	var r struct{ File FileID }
	json.NewDecoder(bytes.NewReader(value)).Decode(&r)
	return r.File
}

// After returns the marks of the files after the acknowledged file.
func After(intents []Mark, acked Mark) []Mark {
	return slices.DeleteFunc(slices.Clone(intents), func(m Mark) bool { return m.TXID <= acked.TXID })
}

// lastState decodes lines into the state that they add up to, nil if there are none. With
// an error, it returns the last state before the damage.
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
