package format_test

import (
	"testing"

	"github.com/walvfs/walvfs/format"
)

var layouts = []format.Layout{format.LayoutHex, format.LayoutDecimal}

func TestKeysAreThoseOfTheLayout(t *testing.T) {
	tests := []struct {
		layout   format.Layout
		level    int
		min, max format.TXID
		want     string
	}{
		{format.LayoutHex, 0, 1, 1, "0000/0000000000000001-0000000000000001.ltx"},
		{format.LayoutHex, 9, 1, 0xabc, "0009/0000000000000001-0000000000000abc.ltx"},
		{format.LayoutDecimal, 0, 255, 255, "ltx/0/00000000000000ff-00000000000000ff.ltx"},
		{format.LayoutDecimal, 9, 1, 1<<64 - 1, "ltx/9/0000000000000001-ffffffffffffffff.ltx"},
	}
	for _, tt := range tests {
		key := tt.layout.Key(tt.level, tt.min, tt.max)
		if key != tt.want {
			t.Errorf("%q, want %q", key, tt.want)
		}
		want := format.FileInfo{Level: tt.level, MinTXID: tt.min, MaxTXID: tt.max}
		if f, ok := tt.layout.Parse(key); !ok || f != want {
			t.Errorf("%q parses as %v, %v", key, f, ok)
		}
	}
}

func TestParseIgnoresOtherKeys(t *testing.T) {
	const name = "0000000000000001-0000000000000002.ltx"
	for _, key := range []string{
		"", "/", name, "/" + name, "0000/", "0000" + name,
		"000a/" + name, "0010/" + name, "000/" + name, "00000/" + name, "x/0000/" + name,
		"ltx/10/" + name, "ltx/00/" + name, "ltx/a/" + name, "x/ltx/0/" + name, "ltx/" + name,
		"0000/0000000000000002-0000000000000001.ltx",
		"0000/0000000000000000-0000000000000001.ltx",
		"0000/000000000000000A-000000000000000B.ltx",
		"0000/+000000000000001-0000000000000001.ltx",
		"0000/1-1.ltx", "0000/" + name + ".ltx", "0000/" + name + "/", "0000/" + name[:33], "0000/" + name + "~",
		"0000/0000000000000001.ltx", "ltx/0/0000000000000001-.ltx",
	} {
		for _, l := range layouts {
			if f, ok := l.Parse(key); ok || f != (format.FileInfo{}) {
				t.Errorf("%q is %v, %v", key, f, ok)
			}
		}
	}
	for i, l := range layouts {
		if f, ok := layouts[1-i].Parse(l.Key(3, 1, 2)); ok {
			t.Errorf("a key of one layout is %v in the other", f)
		}
	}
}

func TestParseTXID(t *testing.T) {
	for s, want := range map[string]format.TXID{"1": 1, "ff": 255, "FF": 255, "00000000000000ff": 255, "ffffffffffffffff": 1<<64 - 1} {
		if got, err := format.ParseTXID(s); got != want || err != nil {
			t.Errorf("%q: %v, %v", s, got, err)
		}
	}
	for _, s := range []string{"", "0", "0000000000000000", "g", "0x1", "-1", "+1", "1_0", "00000000000000001", "10000000000000000"} {
		if got, err := format.ParseTXID(s); err == nil {
			t.Errorf("%q: %v", s, got)
		}
	}
}

func FuzzParseKey(f *testing.F) {
	for _, l := range layouts {
		f.Add(l.Key(0, 1, 1))
		f.Add(l.Key(9, 1, 1<<64-1))
		f.Add(l.Dir(3))
	}
	f.Fuzz(func(t *testing.T, key string) {
		for _, l := range layouts {
			if f, ok := l.Parse(key); ok && l.Key(f.Level, f.MinTXID, f.MaxTXID) != key {
				t.Errorf("%q is %v, whose key is %q", key, f, l.Key(f.Level, f.MinTXID, f.MaxTXID))
			}
		}
	})
}
