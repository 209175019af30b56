package statefile

import (
	"bytes"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"math"
	"math/rand/v2"

	"github.com/walvfs/walvfs/internal/statefile/diskhook"
)

const (
	sector     = 4096       // bytes: the most that a torn write damages beyond its own
	headerSize = 512        // bytes of a header; the rest of its sector is unused
	firstSlot  = 2 * sector // offset

	// slotRoom is the space in bytes between the end of the slot in force and the next
	// slot, for lines that are appended before the next slot is published.
	slotRoom = 64 << 10
)

// Slots stores a value in a file. Replacing the value is atomic and durable, and needs no
// second file. Slots is not safe for concurrent use.
type Slots struct {
	disk     diskhook.Disk
	current  *slot // in force, nil if there is none
	older    *slot // the slot before, as long as it is whole
	draft    *slot // written, but not published
	unsynced bool  // the current header may not be durable
	newest   uint64
}

// A slot is one value and the lines that were appended to it.
type slot struct {
	place      int // of its header: 0 or 1
	generation uint64
	seed       uint64
	offset     int64
	length     int64  // of the value, bytes
	sum        uint32 // its CRC-32C

	value []byte
	lines [][]byte
	torn  bool // no end mark follows the lines
	tail
}

// A tail is the end of a slot's content.
type tail struct {
	size  int64  // bytes of the value and its lines
	chain uint32 // CRC of the header and of all lines
}

// OpenSlots reads the slots of a file. The slot in force is the newest slot whose value
// is accepted, or the newest slot if none is.
func OpenSlots(disk diskhook.Disk, accept func(value []byte) bool) (*Slots, error) {
	image, err := io.ReadAll(io.NewSectionReader(disk, 0, math.MaxInt64))
	if err != nil {
		return nil, err
	}
	s := &Slots{disk: disk}
	s.current, s.older = readSlots(image, accept)
	for _, slot := range []*slot{s.current, s.older} {
		if slot != nil {
			s.newest = max(s.newest, slot.generation)
		}
	}
	return s, nil
}

// readSlots returns the slot in force and the other slot. Both may be nil.
func readSlots(image []byte, accept func(value []byte) bool) (current, other *slot) {
	a, b := readSlot(image, 0), readSlot(image, 1)
	if a == nil || b != nil && b.generation > a.generation {
		a, b = b, a
	}
	if b != nil && accept(b.value) && !accept(a.value) {
		a, b = b, a
	}
	return a, b
}

// readSlot returns the slot of a header, nil if the slot is not whole.
func readSlot(image []byte, place int) *slot {
	at := place * sector
	if len(image) < at+headerSize {
		return nil
	}
	s := &slot{place: place}
	var crc uint32
	header := image[at : at+headerSize]
	if _, err := fmt.Sscanf(string(header), headerFormat, &s.generation, &s.seed, &s.offset, &s.length, &s.sum, &crc); err != nil {
		return nil
	}
	size := int64(len(image))
	if !bytes.Equal(s.header(), header) || s.offset < firstSlot || s.offset > size || s.length < 0 || s.length > size-s.offset {
		return nil
	}
	s.value = image[s.offset : s.offset+s.length]
	if crc32.Checksum(s.value, castagnoli) != s.sum {
		return nil
	}
	s.readLines(image[s.offset+s.length:])
	return s
}

// readLines reads the lines up to the end mark, or up to the first damage.
func (s *slot) readLines(b []byte) {
	s.tail = s.empty()
	for !bytes.HasPrefix(b, s.endMark()) {
		text, rest, ok := bytes.Cut(b, []byte("\n"))
		_, text, _ = bytes.Cut(text, []byte(" "))
		line, tail := s.line(text)
		if !ok || !bytes.HasPrefix(b, line) {
			s.torn = true
			return
		}
		s.lines, s.tail, b = append(s.lines, text), tail, rest
	}
}

const headerFormat = "walvfs-state 2 generation %d seed %016x offset %d length %d sum %08x crc %08x"

func (s *slot) header() []byte {
	encode := func(crc uint32) []byte {
		return fmt.Appendf(nil, headerFormat, s.generation, s.seed, s.offset, s.length, s.sum, crc)
	}
	b := encode(crc32.Checksum(encode(0), castagnoli))
	return append(append(b, bytes.Repeat([]byte(" "), headerSize-1-len(b))...), '\n')
}

// empty returns the tail of a slot without lines.
func (s *slot) empty() tail {
	return tail{size: s.length, chain: crc32.Checksum(s.header(), castagnoli)}
}

// line encodes a line after the tail, and returns the next tail.
func (t tail) line(text []byte) ([]byte, tail) {
	sum := crc32.Update(t.chain, castagnoli, text)
	b := fmt.Appendf(nil, "%08x %s\n", sum, text)
	return b, tail{size: t.size + int64(len(b)), chain: sum}
}

func (t tail) endMark() []byte {
	b, _ := t.line([]byte("end"))
	return b
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Value returns the value in force, nil if there is none.
func (s *Slots) Value() []byte {
	if s.current == nil {
		return nil
	}
	return s.current.value
}

// Put replaces the value, durably.
func (s *Slots) Put(value []byte) error {
	d, err := s.write(value)
	if err == nil {
		err = s.publish(d)
	}
	if err == nil {
		err = s.sync()
	}
	if err == nil {
		d.value = value
	}
	return err
}

// write writes a value where it does not overwrite the slot in force.
func (s *Slots) write(value []byte) (*slot, error) {
	if s.unsynced { // the older slot is needed until the sync
		if err := s.sync(); err != nil {
			return nil, err
		}
	}
	s.newest++
	d := &slot{generation: s.newest, seed: rand.Uint64(), length: int64(len(value)), sum: crc32.Checksum(value, castagnoli)}
	d.offset = firstSlot
	if c := s.current; c != nil {
		d.place = 1 - c.place
		if firstSlot+d.length+slotRoom > c.offset {
			d.offset = (c.offset + c.size + slotRoom + sector - 1) / sector * sector
		}
	}
	d.tail = d.empty()
	s.older = nil
	if _, err := s.disk.WriteAt(append(bytes.Clone(value), d.endMark()...), d.offset); err != nil {
		return nil, err
	}
	s.draft = d
	return d, nil
}

var errOverwritten = errors.New("lines were appended meanwhile")

// publish puts the slot in force. It is durable after sync.
func (s *Slots) publish(d *slot) error {
	if s.draft != d {
		return errOverwritten
	}
	s.draft = nil
	if _, err := s.disk.WriteAt(d.header(), int64(d.place)*sector); err != nil {
		return err
	}
	s.current, s.older, s.unsynced = d, s.current, true
	return nil
}

// sync makes the header durable.
func (s *Slots) sync() error {
	c := s.current
	return s.synced(c, s.disk.Sync())
}

// synced notes the result of a sync of the disk that began when c was in force. If it
// failed, the slot before is in force again: a later sync may succeed without having
// written this header.
func (s *Slots) synced(c *slot, err error) error {
	if s.current != c || !s.unsynced {
		return err
	}
	s.unsynced = false
	if err != nil {
		_, zeroErr := s.disk.WriteAt(make([]byte, headerSize), int64(c.place)*sector)
		s.current, s.older = s.older, nil
		return errors.Join(err, zeroErr)
	}
	return nil
}

// append writes a line after the tail of the slot in force. All that follows the tail is
// no longer part of the slot. The line may take the space of a draft, or of the older
// slot once that slot is not needed.
func (s *Slots) append(after tail, text []byte) error {
	c := s.current
	line, next := after.line(text)
	b := append(line, next.endMark()...)
	end := c.offset + after.size + int64(len(b))
	if reaches(c, end, s.draft) {
		s.draft = nil
	}
	if reaches(c, end, s.older) {
		if s.unsynced {
			if err := s.sync(); err != nil {
				return err
			}
		}
		s.older = nil
	}
	if _, err := s.disk.WriteAt(b, c.offset+after.size); err != nil {
		return err
	}
	c.tail = next
	return nil
}

// reaches reports whether slot s, if it grows up to end, takes the space of the other
// slot.
func reaches(s *slot, end int64, other *slot) bool {
	return other != nil && other.offset > s.offset && end > other.offset
}
