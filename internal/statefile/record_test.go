package statefile

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"testing"

	"github.com/RoaringBitmap/roaring/v2"

	"github.com/walvfs/walvfs/format"
)

var sample = Record{
	NodeID:  1 << 63,
	Replica: "s3://bucket/app",
	File:    FileID{Inode: 8, Birth: 9},
	Acked:   &Mark{TXID: 20, Checksum: 1<<63 | 5},
	Intents: []Mark{{TXID: 21, Checksum: 1<<63 | 6}, {TXID: 21, Checksum: 1<<63 | 7}},
	State:   &State{Epoch: format.Salt{1, 2}, Scanned: 7, Checksum: [2]uint32{8, 9}, PageSize: 4096, Floor: 3, Dirty: []byte{1, 2, 3}},
}

// at returns the record as written for a database.
func (r Record) at(t *testing.T, database string) Record {
	t.Helper()
	path, err := filepath.Abs(database)
	if err != nil {
		t.Fatal(err)
	}
	r.Path, r.Machine = path, MachineID()
	return r
}

func save(t *testing.T, r Record, database string) {
	t.Helper()
	if err := r.Save(database); err != nil {
		t.Fatal(err)
	}
}

// continued opens a state file to append to it.
func continued(t *testing.T, database string) *File {
	t.Helper()
	f := Open(database)
	t.Cleanup(func() { f.Close() })
	if err := f.Continue(); err != nil {
		t.Fatal(err)
	}
	return f
}

func TestSaveLoad(t *testing.T) {
	path := filepath.Join(t.TempDir(), "app.db")
	if _, err := Load(path); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
	for _, want := range []Record{sample, New("file:///x", FileID{Inode: 2}), {Rewind: true, State: &State{Closed: &Closed{Settled: true}}}} {
		save(t, want, path)
		if got, err := Load(path); err != nil || !reflect.DeepEqual(got, want.at(t, path)) {
			t.Errorf("%+v, %v, want %+v", got, err, want)
		}
	}
	if MachineID() == "" {
		t.Error("nothing identifies this machine")
	}
}

// The last state counts.
func TestAppend(t *testing.T) {
	path := filepath.Join(t.TempDir(), "app.db")
	f := Open(path)
	defer f.Close()
	if err := f.Append(State{}, nil); err != nil { // without a record
		t.Fatal(err)
	}
	draft, err := f.Draft(sample)
	if err == nil {
		err = draft.Publish()
	}
	if err != nil {
		t.Fatal(err)
	}
	large := make([]byte, 300_000)
	for i := range uint32(20) {
		if err := f.Append(State{Scanned: i, Dirty: large}, nil); err != nil {
			t.Fatal(err)
		}
		got, err := Load(path)
		if err != nil || got.State == nil || got.State.Scanned != i || got.NodeID != sample.NodeID {
			t.Fatalf("state %d: %v, %v", i, got.State, err)
		}
	}
	if info, err := os.Stat(path + Suffix); err != nil || info.Size() > 2<<20 {
		t.Errorf("%d bytes, %v", info.Size(), err)
	}
}

// States that add pages to the state before add up, even if earlier lines must be
// removed, and in a file of an earlier run.
func TestAppendMore(t *testing.T) {
	path := filepath.Join(t.TempDir(), "app.db")
	all := roaring.BitmapOf(1)
	side := sample
	side.State = &State{Floor: 1, Dirty: encode(t, all)}
	save(t, side, path)
	f := continued(t, path)
	wholes := 0
	for i := range uint32(40) {
		more := roaring.New()
		for page := i; page < 1_000_000; page += 40 { // each state is some 50 KB
			more.Add(page)
		}
		all.Or(more)
		err := f.Append(State{More: true, Floor: 2 + i, Dirty: encode(t, more)}, func() State {
			wholes++
			return State{Floor: 2 + i, Dirty: encode(t, all)}
		})
		if err != nil {
			t.Fatal(err)
		}
		got, err := Load(path)
		if err != nil || got.State == nil || got.State.Floor != 2+i || got.State.More {
			t.Fatalf("state %d: %+v, %v", i, got, err)
		}
		if pages, err := got.State.Pages(); err != nil || !pages.Equals(all) {
			t.Fatalf("state %d has other pages, %v", i, err)
		}
	}
	if wholes == 0 {
		t.Error("never too long")
	}
}

// Pages that add to a lost state are not all dirty pages.
func TestMoreOfNothing(t *testing.T) {
	path := filepath.Join(t.TempDir(), "app.db")
	side := sample
	side.State = &State{More: true, Floor: 3}
	save(t, side, path)
	if got, err := Load(path); err != nil || got.State != nil {
		t.Errorf("%+v, %v", got.State, err)
	}
}

func encode(t *testing.T, pages *roaring.Bitmap) []byte {
	t.Helper()
	b, err := Pages(pages)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// A copy of a file has another ID, a renamed file the same.
func TestIdentify(t *testing.T) {
	dir := t.TempDir()
	id := func(name string) FileID {
		id, err := Identify(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		return id
	}
	for _, name := range []string{"a", "b"} {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	a, b := id("a"), id("b")
	if err := os.Rename(filepath.Join(dir, "a"), filepath.Join(dir, "c")); err != nil {
		t.Fatal(err)
	}
	if a == b || a != id("c") {
		t.Errorf("a %v, b %v, a renamed %v", a, b, id("c"))
	}
}

func FuzzState(f *testing.F) {
	path := filepath.Join(f.TempDir(), "app.db")
	if err := sample.Save(path); err != nil {
		f.Fatal(err)
	}
	image, err := os.ReadFile(path + Suffix)
	if err != nil {
		f.Fatal(err)
	}
	s := readSlot(image, 0)
	f.Add(s.value, []byte(`{"more":true,"dirty":"AQI="}`))
	f.Fuzz(func(t *testing.T, value, line []byte) {
		r, err := decode(&slot{value: value, lines: [][]byte{line}})
		if err != nil {
			return
		}
		b, err := r.encode(r.Path)
		if err != nil {
			t.Fatal(err)
		}
		same, err := decode(&slot{value: b})
		r.Path, r.Machine = same.Path, same.Machine
		if err != nil || !reflect.DeepEqual(r, same) {
			t.Errorf("%+v, %v, want %+v", same, err, r)
		}
	})
}

// However large the whole state is, it is written only once for many states that add to
// it.
func TestAppendIsCheap(t *testing.T) {
	path := filepath.Join(t.TempDir(), "app.db")
	save(t, sample, path)
	f := continued(t, path)
	wholes, whole := 0, make([]byte, 1_200_000)
	for range 3000 {
		err := f.Append(State{More: true, Floor: 2, Dirty: whole[:3000]}, func() State {
			wholes++
			return State{Floor: 2, Dirty: whole}
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if wholes == 0 || wholes > 20 {
		t.Errorf("the whole state was written %d times", wholes)
	}
}
