package sidecar_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"testing"

	"github.com/walvfs/walvfs/shipper/sidecar"
)

var sample = sidecar.Sidecar{
	Version: 1,
	NodeID:  1 << 63,
	Replica: "s3://bucket/app",
	Device:  7,
	Inode:   8,
	Acked:   &sidecar.Mark{TXID: 20, Checksum: 1<<63 | 5},
	Intents: []sidecar.Mark{{TXID: 21, Checksum: 1<<63 | 6}, {TXID: 21, Checksum: 1<<63 | 7}},
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

// Whatever happens to a sidecar's bytes, it is not believed.
func TestSidecarDamage(t *testing.T) {
	b, err := sample.MarshalBinary()
	if err != nil {
		t.Fatal(err)
	}
	check := func(what string, b []byte) {
		var got sidecar.Sidecar
		if err := got.UnmarshalBinary(b); !errors.Is(err, sidecar.ErrInvalid) {
			t.Errorf("%s: %v", what, err)
		}
	}
	for i := range b {
		check("truncated", b[:i])
		for bit := range 8 {
			b[i] ^= 1 << bit
			check("flipped", b)
			b[i] ^= 1 << bit
		}
	}
	check("longer", append(b, '\n'))
}

func TestSaveLoad(t *testing.T) {
	path := filepath.Join(t.TempDir(), "app.db")
	if _, err := sidecar.Load(path); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
	for _, want := range []sidecar.Sidecar{sample, sidecar.New("file:///x", 1, 2)} {
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
	id := func(name string) [2]uint64 {
		info, err := os.Stat(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		device, inode := sidecar.Identify(info)
		return [2]uint64{device, inode}
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
