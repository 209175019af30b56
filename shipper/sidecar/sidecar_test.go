package sidecar_test

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"testing"

	"github.com/RoaringBitmap/roaring/v2"

	"github.com/walvfs/walvfs/format"
	"github.com/walvfs/walvfs/shipper/sidecar"
)

var sample = sidecar.Sidecar{
	Version: 1,
	NodeID:  1 << 63,
	Replica: "s3://bucket/app",
	File:    sidecar.FileID{Inode: 8, Birth: 9},
	Acked:   &sidecar.Mark{TXID: 20, Checksum: 1<<63 | 5},
	Intents: []sidecar.Mark{{TXID: 21, Checksum: 1<<63 | 6}, {TXID: 21, Checksum: 1<<63 | 7}},
	State:   &sidecar.State{Epoch: format.Salt{1, 2}, Scanned: 7, Checksum: [2]uint32{8, 9}, PageSize: 4096, Floor: 3, Dirty: []byte{1, 2, 3}},
}

func TestSidecarRoundTrip(t *testing.T) {
	for _, want := range []sidecar.Sidecar{sample, {Version: 1}} {
		b, err := want.MarshalBinary()
		if err != nil {
			t.Fatal(err)
		}
		var got sidecar.Sidecar
		if err := got.UnmarshalBinary(b); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%+v, %v, want %+v", got, err, want)
		}
	}
}

// Whatever happens to a sidecar's bytes, it is not believed: not at all, if its
// first line is damaged, and not its state otherwise.
func TestDamage(t *testing.T) {
	b, err := sample.MarshalBinary()
	if err != nil {
		t.Fatal(err)
	}
	first := bytes.IndexByte(b, '\n')
	check := func(what string, at int, b []byte) {
		var got sidecar.Sidecar
		err := got.UnmarshalBinary(b)
		if at <= first && !errors.Is(err, sidecar.ErrInvalid) {
			t.Errorf("%s at %d: %v", what, at, err)
		}
		if at > first && (err != nil || got.State != nil || got.NodeID != sample.NodeID) {
			t.Errorf("%s at %d: %+v, %v", what, at, got, err)
		}
	}
	for i := range b {
		if i != first+1 { // the first line alone is a sidecar without a state
			check("truncated", i, b[:i])
		}
		for bit := range 8 {
			b[i] ^= 1 << bit
			check("flipped", i, b)
			b[i] ^= 1 << bit
		}
	}
	check("longer", len(b), append(b, '\n'))
}

// The last state counts.
func TestAppend(t *testing.T) {
	path := filepath.Join(t.TempDir(), "app.db")
	f := sidecar.Open(path)
	defer f.Close()
	if err := f.Append(sidecar.State{}, nil); err != nil { // to nothing
		t.Fatal(err)
	}
	b, err := sample.MarshalBinary()
	if err != nil {
		t.Fatal(err)
	}
	draft, err := f.Draft(b, true)
	if err == nil {
		err = draft.Publish()
	}
	if err != nil {
		t.Fatal(err)
	}
	large := make([]byte, 300_000)
	for i := range uint32(20) {
		if err := f.Append(sidecar.State{Scanned: i, Dirty: large}, nil); err != nil {
			t.Fatal(err)
		}
		got, err := sidecar.Load(path)
		if err != nil || got.State == nil || got.State.Scanned != i || got.NodeID != sample.NodeID {
			t.Fatalf("state %d: %v, %v", i, got.State, err)
		}
	}
	if info, err := os.Stat(path + sidecar.Suffix); err != nil || info.Size() > 2<<20 {
		t.Errorf("%d bytes, %v", info.Size(), err)
	}
	if _, err := os.Stat(path + sidecar.Suffix + ".tmp"); err == nil {
		t.Error("a draft is left")
	}
}

// States that add pages to the one before add up, also when what was appended before
// has to go, and in a file that an earlier run left.
func TestAppendMore(t *testing.T) {
	path := filepath.Join(t.TempDir(), "app.db")
	all := roaring.BitmapOf(1)
	side := sample
	side.State = &sidecar.State{Floor: 1, Dirty: encode(t, all)}
	if err := side.Save(path); err != nil {
		t.Fatal(err)
	}
	f := sidecar.Open(path)
	defer f.Close()
	if err := f.Continue(); err != nil {
		t.Fatal(err)
	}
	wholes := 0
	for i := range uint32(40) {
		more := roaring.New()
		for page := i; page < 1_000_000; page += 40 { // each is some 50 KB
			more.Add(page)
		}
		all.Or(more)
		err := f.Append(sidecar.State{More: true, Floor: 2 + i, Dirty: encode(t, more)}, func() sidecar.State {
			wholes++
			return sidecar.State{Floor: 2 + i, Dirty: encode(t, all)}
		})
		if err != nil {
			t.Fatal(err)
		}
		got, err := sidecar.Load(path)
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

// Pages that come on top of a state that is lost are not all there are.
func TestMoreOfNothing(t *testing.T) {
	side := sample
	side.State = &sidecar.State{More: true, Floor: 3}
	b, err := side.MarshalBinary()
	if err != nil {
		t.Fatal(err)
	}
	var got sidecar.Sidecar
	if err := got.UnmarshalBinary(b); err != nil || got.State != nil {
		t.Errorf("%+v, %v", got.State, err)
	}
}

func encode(t *testing.T, pages *roaring.Bitmap) []byte {
	t.Helper()
	b, err := sidecar.Pages(pages)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestSaveLoad(t *testing.T) {
	path := filepath.Join(t.TempDir(), "app.db")
	if _, err := sidecar.Load(path); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
	for _, want := range []sidecar.Sidecar{sample, sidecar.New("file:///x", sidecar.FileID{Inode: 2})} {
		if err := want.Save(path); err != nil {
			t.Fatal(err)
		}
		if got, err := sidecar.Load(path); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%+v, %v, want %+v", got, err, want)
		}
	}
	if err := os.WriteFile(path+sidecar.Suffix, []byte("{}\n00000000\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := sidecar.Load(path); !errors.Is(err, sidecar.ErrInvalid) {
		t.Error(err)
	}
}

// A copy of a file is told from it, a renamed file is not.
func TestIdentify(t *testing.T) {
	dir := t.TempDir()
	id := func(name string) sidecar.FileID {
		id, err := sidecar.Identify(filepath.Join(dir, name))
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

func FuzzSidecar(f *testing.F) {
	b, err := sample.MarshalBinary()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Fuzz(func(t *testing.T, b []byte) {
		var s sidecar.Sidecar
		if s.UnmarshalBinary(b) != nil {
			return
		}
		again, err := s.MarshalBinary()
		if err != nil {
			t.Fatal(err)
		}
		var same sidecar.Sidecar
		if err := same.UnmarshalBinary(again); err != nil || !reflect.DeepEqual(s, same) {
			t.Errorf("%+v, %v, want %+v", same, err, s)
		}
	})
}

// However large the whole state is, it is written once for many that add to it.
func TestAppendIsCheap(t *testing.T) {
	path := filepath.Join(t.TempDir(), "app.db")
	if err := sample.Save(path); err != nil {
		t.Fatal(err)
	}
	f := sidecar.Open(path)
	defer f.Close()
	if err := f.Continue(); err != nil {
		t.Fatal(err)
	}
	wholes, whole := 0, make([]byte, 1_200_000)
	for range 3000 {
		err := f.Append(sidecar.State{More: true, Floor: 2, Dirty: whole[:3000]}, func() sidecar.State {
			wholes++
			return sidecar.State{Floor: 2, Dirty: whole}
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if wholes == 0 || wholes > 20 {
		t.Errorf("the whole state was written %d times", wholes)
	}
}
