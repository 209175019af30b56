// Package sidecar is the one file that walvfs keeps beside a database. It holds
// what this copy of the database remembers of its replica:
//
//	app.db
//	app.db-walvfs   {"version":1,"node":…,"replica":…,"inode":…,"acked":{…}}\n
//	                1b2f9c3d\n
//
// The first line is JSON, the second its CRC-32C in 8 hexadecimal digits.
//
// Correctness never depends on it: every use checks it against the files and the
// replica's tip, and what is not proven is not assumed.
package sidecar

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"math/rand/v2"
	"os"

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
	Device  uint64 `json:"device"`  // of the database file, as stat(2) says
	Inode   uint64 `json:"inode"`   // of the database file; another one's belongs to a copy

	// Acked is the last file that the replica acknowledged, or that this database
	// was restored from. Intents are those after it that were being uploaded: the
	// store may have any one of them, or get it yet.
	Acked   *Mark  `json:"acked,omitempty"`
	Intents []Mark `json:"intents,omitempty"`
}

// A Mark identifies a file of the replica.
type Mark struct {
	TXID     format.TXID     `json:"txid"`
	Checksum format.Checksum `json:"checksum"` // the file checksum in its trailer
}

// New returns the sidecar of a database that knows nothing of a replica yet.
func New(replica string, device, inode uint64) Sidecar {
	return Sidecar{Version: 1, NodeID: rand.Uint64(), Replica: replica, Device: device, Inode: inode}
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

// Save writes the sidecar of a database durably. A crash leaves the old or the
// new content.
func (s Sidecar) Save(database string) error {
	b, err := s.MarshalBinary()
	if err != nil {
		return err
	}
	name := database + Suffix
	tmp := name + ".tmp"
	f, err := os.OpenFile(tmp, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	err = errors.Join(err, f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(tmp, name)
	}
	if err != nil {
		os.Remove(tmp)
	}
	return err
}

// Identify returns what tells a file from its copies, zeros where the system has
// nothing that does.
func Identify(info fs.FileInfo) (device, inode uint64) { return inodeOf(info) }

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// MarshalBinary encodes a sidecar.
func (s Sidecar) MarshalBinary() ([]byte, error) {
	s.Version = 1
	line, err := json.Marshal(s)
	if err != nil {
		return nil, err
	}
	return fmt.Appendf(line, "\n%08x\n", crc32.Checksum(line, castagnoli)), nil
}

// UnmarshalBinary decodes a sidecar. The error is [ErrInvalid] if any byte is
// missing or was changed.
func (s *Sidecar) UnmarshalBinary(b []byte) error {
	*s = Sidecar{}
	line, sum, ok := bytes.Cut(b, []byte("\n"))
	if !ok || string(sum) != fmt.Sprintf("%08x\n", crc32.Checksum(line, castagnoli)) {
		return fmt.Errorf("%w: checksum", ErrInvalid)
	}
	if err := json.Unmarshal(line, s); err != nil || s.Version != 1 {
		return fmt.Errorf("%w: version %d", ErrInvalid, s.Version)
	}
	return nil
}
