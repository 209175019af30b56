package format

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"

	"github.com/superfly/ltx"
)

// SidecarSuffix is appended to a database's file name to name its sidecar.
const SidecarSuffix = "-walvfs"

// ErrSidecar: the bytes are not a sidecar, or not one that is whole.
var ErrSidecar = errors.New("not a valid sidecar")

// A Sidecar is what a copy of a database remembers of its replica. It is one
// line of JSON and the CRC-32C of that line in 8 hexadecimal digits:
//
//	{"version":1,"node":…,"replica":…,"inode":…,"acked":{…}}\n
//	1b2f9c3d\n
//
// Correctness never depends on it: every use checks it against the files and
// the replica's tip, and what is not proven is not assumed.
type Sidecar struct {
	Version int    `json:"version"` // 1
	NodeID  uint64 `json:"node"`    // of this copy of the database
	Replica string `json:"replica"` // URL, without secrets
	Device  uint64 `json:"device"`  // of the database file, as stat(2) says
	Inode   uint64 `json:"inode"`   // of the database file; another one's belongs to a copy

	// Acked is the last file that the replica acknowledged, Intent the one that
	// was being uploaded.
	Acked  *SidecarMark `json:"acked,omitempty"`
	Intent *SidecarMark `json:"intent,omitempty"`
}

// SidecarMark identifies a level 0 file.
type SidecarMark struct {
	TXID     TXID         `json:"txid"`
	Checksum ltx.Checksum `json:"checksum"` // the file checksum in its trailer
}

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

// UnmarshalBinary decodes a sidecar. The error is [ErrSidecar] if any byte is
// missing or was changed.
func (s *Sidecar) UnmarshalBinary(b []byte) error {
	*s = Sidecar{}
	line, sum, ok := bytes.Cut(b, []byte("\n"))
	if !ok || string(sum) != fmt.Sprintf("%08x\n", crc32.Checksum(line, castagnoli)) {
		return fmt.Errorf("%w: checksum", ErrSidecar)
	}
	if err := json.Unmarshal(line, s); err != nil || s.Version != 1 {
		return fmt.Errorf("%w: version %d", ErrSidecar, s.Version)
	}
	return nil
}
