package format

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/superfly/ltx"
)

// TXID numbers the commits of a replica, from 1. Its text form is 16 lowercase
// hexadecimal digits.
type TXID uint64

func (t TXID) String() string { return hex16(uint64(t)) }

// MarshalText returns the text form.
func (t TXID) MarshalText() ([]byte, error) { return []byte(t.String()), nil }

// UnmarshalText parses the text form. 0 stands for no TXID.
func (t *TXID) UnmarshalText(b []byte) (err error) {
	*(*uint64)(t), err = parseHex16(b, "a TXID")
	return err
}

// A Checksum is a CRC-64 with its highest bit set. Its text form is 16 lowercase
// hexadecimal digits. The zero value means no checksum.
type Checksum uint64

const checksumFlag = Checksum(ltx.ChecksumFlag)

func (c Checksum) String() string { return hex16(uint64(c)) }

// MarshalText returns the text form.
func (c Checksum) MarshalText() ([]byte, error) { return []byte(c.String()), nil }

// UnmarshalText parses the text form.
func (c *Checksum) UnmarshalText(b []byte) (err error) {
	*(*uint64)(c), err = parseHex16(b, "a checksum")
	return err
}

func hex16(n uint64) string { return fmt.Sprintf("%016x", n) }

func parseHex16(b []byte, what string) (uint64, error) {
	n, err := strconv.ParseUint(string(b), 16, 64)
	if err != nil || len(b) != 16 {
		return 0, fmt.Errorf("format: %q is not %s: expected 16 hexadecimal digits", b, what)
	}
	return n, nil
}

// ParseTXID parses a TXID as users type it: up to 16 hexadecimal digits.
func ParseTXID(s string) (TXID, error) {
	n, err := strconv.ParseUint(s, 16, 64)
	if err != nil || n == 0 || len(s) > 16 {
		return 0, fmt.Errorf("format: %q is not a TXID: expected 1 to 16 hexadecimal digits, at least 1", s)
	}
	return TXID(n), nil
}

// Levels of a replica. Levels 1 to 8 hold compacted files.
const (
	LevelRaw      = 0 // one file for each TXID
	LevelSnapshot = 9 // complete databases, from TXID 1 to N
)

// FileInfo describes one LTX file of a replica.
type FileInfo struct {
	Level   int       // 0 raw, 1 to 8 compacted, 9 snapshots
	MinTXID TXID      // first TXID that the file holds
	MaxTXID TXID      // last TXID that the file holds
	Size    int64     // bytes
	Time    time.Time // when MaxTXID was cut; zero if unknown
}

// String names the file, but not its replica: "level/min-max".
func (f FileInfo) String() string {
	return fmt.Sprintf("%d/%s-%s", f.Level, f.MinTXID, f.MaxTXID)
}

// Layout is how a storage backend spells the keys of a replica, relative to the replica's
// root. There are two because Litestream has two.
type Layout int

const (
	LayoutHex     Layout = iota // S3: 000L/MIN-MAX.ltx, the level as 4 hexadecimal digits
	LayoutDecimal               // GCS and file: ltx/L/MIN-MAX.ltx, the level in decimal
)

// Dir returns the prefix of a level's keys, with its closing slash.
func (l Layout) Dir(level int) string {
	if l == LayoutDecimal {
		return fmt.Sprintf("ltx/%d/", level)
	}
	return fmt.Sprintf("%04x/", level)
}

// Prefix returns the common prefix of the keys of all levels: one listing of it returns
// the files of the replica, in the order of levels.
func (l Layout) Prefix() string {
	if l == LayoutDecimal {
		return "ltx/"
	}
	return "000"
}

// Key returns the key of a file of the given level that holds min to max.
func (l Layout) Key(level int, minTXID, maxTXID TXID) string {
	return l.Dir(level) + minTXID.String() + "-" + maxTXID.String() + ".ltx"
}

// Parse reports the file that a key names. It accepts only the exact spelling of
// [Layout.Key]; any other key is not a replica's.
func (l Layout) Parse(key string) (f FileInfo, ok bool) {
	dir, name, ok := cutLast(key, "/")
	if !ok {
		return f, false
	}
	for f.Level = LevelRaw; l.Dir(f.Level) != dir+"/"; f.Level++ {
		if f.Level == LevelSnapshot {
			return FileInfo{}, false
		}
	}
	lo, hi, _ := strings.Cut(strings.TrimSuffix(name, ".ltx"), "-")
	if f.MinTXID.UnmarshalText([]byte(lo)) != nil || f.MaxTXID.UnmarshalText([]byte(hi)) != nil {
		return FileInfo{}, false
	}
	if f.MinTXID == 0 || f.MaxTXID < f.MinTXID || l.Key(f.Level, f.MinTXID, f.MaxTXID) != key {
		return FileInfo{}, false
	}
	return f, true
}

func cutLast(s, sep string) (before, after string, found bool) {
	i := strings.LastIndex(s, sep)
	if i < 0 {
		return s, "", false
	}
	return s[:i], s[i+len(sep):], true
}
