package statefile

import (
	"bytes"
	"errors"
	"io"
	"testing"
)

// A memDisk is a disk in memory, whose syncs fail while it has an error.
type memDisk struct {
	b   []byte
	err error
}

func (d *memDisk) ReadAt(p []byte, off int64) (int, error) {
	return bytes.NewReader(d.b).ReadAt(p, off)
}

func (d *memDisk) WriteAt(p []byte, off int64) (int, error) {
	d.b = powerWrite{off, p}.apply(d.b, func() bool { return true })
	return len(p), nil
}

func (d *memDisk) Sync() error { return d.err }

func always([]byte) bool { return true }

func openSlots(t *testing.T, d *memDisk) *Slots {
	t.Helper()
	s, err := OpenSlots(d, always)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func put(t *testing.T, s *Slots, value string) {
	t.Helper()
	if err := s.Put([]byte(value)); err != nil {
		t.Fatal(err)
	}
}

// The newest value is found again, whatever its size.
func TestPut(t *testing.T) {
	d := &memDisk{}
	if v := openSlots(t, d).Value(); v != nil {
		t.Errorf("%q in an empty file", v)
	}
	for _, size := range []int{1, 0, 100 << 10, sector, 3, 1 << 20, 2} {
		want := bytes.Repeat([]byte("x"), size)
		s := openSlots(t, d)
		put(t, s, "before")
		put(t, s, string(want))
		if !bytes.Equal(s.Value(), want) {
			t.Errorf("%d bytes: the value is not what was put", size)
		}
		if got := openSlots(t, d).Value(); !bytes.Equal(got, want) {
			t.Errorf("%d bytes: another value is found", size)
		}
	}
}

// A value that cannot be made durable is not in force, and the next value does not
// overwrite the value in force.
func TestPutFails(t *testing.T) {
	d := &memDisk{}
	s := openSlots(t, d)
	put(t, s, "one")
	d.err = io.ErrUnexpectedEOF
	if err := s.Put([]byte("two")); !errors.Is(err, d.err) {
		t.Error(err)
	}
	if got := string(s.Value()); got != "one" {
		t.Errorf("value %q is in force", got)
	}
	d.err = nil
	put(t, s, "three")
	if current, other := readSlots(d.b, always); current == nil || other == nil || string(current.value) != "three" || string(other.value) != "one" {
		t.Errorf("%+v, %+v", current, other)
	}
}

// The remains of an older slot never pass for lines of a newer slot, even if both have
// the same place and value and begin with the same line.
func TestStaleLinesNeverPass(t *testing.T) {
	image := func(lines ...string) []byte {
		d := &memDisk{}
		s := openSlots(t, d)
		put(t, s, "value")
		for _, line := range lines {
			if err := s.append(s.current.tail, []byte(line)); err != nil {
				t.Fatal(err)
			}
		}
		return d.b
	}
	for _, test := range []struct {
		name       string
		stale, now []string
	}{
		{"the same line", []string{"a", "b"}, []string{"a"}},
		{"another line", []string{"a", "b"}, []string{"c"}},
		{"no line", []string{"a", "b"}, nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			stale, now := image(test.stale...), image(test.now...)
			s := readSlot(now, 0)
			if s == nil || s.torn || len(s.lines) != len(test.now) {
				t.Fatalf("%+v", s)
			}
			end := s.offset + s.size
			torn := readSlot(append(bytes.Clone(now[:end]), stale[end:]...), 0)
			if torn == nil || !torn.torn || len(torn.lines) != len(test.now) {
				t.Errorf("%+v", torn)
			}
		})
	}
}

// A line takes the space of the older slot only when the newer slot is durable.
func TestLineOverOlderSlot(t *testing.T) {
	d := &powerDisk{Disk: &memDisk{}, look: func(*powerDisk) {}}
	s, err := OpenSlots(d, always)
	if err != nil {
		t.Fatal(err)
	}
	for _, value := range []string{"one", "two"} { // the second value has the higher offset
		put(t, s, value)
	}
	three, err := s.write([]byte("three"))
	if err == nil {
		err = s.publish(three)
	}
	if err == nil {
		err = s.append(s.current.tail, make([]byte, 2*slotRoom))
	}
	if err != nil {
		t.Fatal(err)
	}
	for kept := range 1 << len(d.pending) {
		b := bytes.Clone(d.durable)
		for i, w := range d.pending {
			b = w.apply(b, func() bool { return kept&(1<<i) != 0 })
		}
		if current, _ := readSlots(b, always); current == nil || string(current.value) == "one" {
			t.Errorf("of %d writes these were kept: %b: found %+v", len(d.pending), kept, current)
		}
	}
}
