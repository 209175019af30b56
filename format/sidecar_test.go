package format_test

import (
	"errors"
	"reflect"
	"testing"

	"github.com/walvfs/walvfs/format"
)

var sidecar = format.Sidecar{
	Version: 1,
	NodeID:  1 << 63,
	Replica: "s3://bucket/app",
	Device:  7,
	Inode:   8,
	Acked:   &format.SidecarMark{TXID: 20, Checksum: 1<<63 | 5},
	Intent:  &format.SidecarMark{TXID: 21, Checksum: 1<<63 | 6},
}

func TestSidecarRoundTrip(t *testing.T) {
	for _, want := range []format.Sidecar{sidecar, {Version: 1}} {
		b, err := want.MarshalBinary()
		if err != nil {
			t.Fatal(err)
		}
		var got format.Sidecar
		if err := got.UnmarshalBinary(b); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%+v, %v, want %+v", got, err, want)
		}
	}
}

// Whatever happens to a sidecar's bytes, it is not believed.
func TestSidecarDamage(t *testing.T) {
	b, err := sidecar.MarshalBinary()
	if err != nil {
		t.Fatal(err)
	}
	check := func(what string, b []byte) {
		var got format.Sidecar
		if err := got.UnmarshalBinary(b); !errors.Is(err, format.ErrSidecar) {
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

func FuzzSidecar(f *testing.F) {
	b, err := sidecar.MarshalBinary()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Fuzz(func(t *testing.T, b []byte) {
		var s format.Sidecar
		if s.UnmarshalBinary(b) != nil {
			return
		}
		again, err := s.MarshalBinary()
		if err != nil {
			t.Fatal(err)
		}
		var same format.Sidecar
		if err := same.UnmarshalBinary(again); err != nil || !reflect.DeepEqual(s, same) {
			t.Errorf("%+v, %v, want %+v", same, err, s)
		}
	})
}
