package format_test

import (
	"bytes"
	"errors"
	"slices"
	"testing"

	"github.com/walvfs/walvfs/format"
)

// The page index names the pages, and the parser refuses an index that is truncated or
// longer.
func TestPageIndex(t *testing.T) {
	var file bytes.Buffer
	enc, err := format.NewEncoder(&file, format.LTXHeader{PageSize: 512, Commit: 100_000, MinTXID: 2, MaxTXID: 2})
	if err != nil {
		t.Fatal(err)
	}
	want := []uint32{1, 2, 127, 128, 129, 16383, 16384, 99_999, 100_000}
	for _, pgno := range want {
		if err := enc.Page(pgno, make([]byte, 512)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := enc.Close(); err != nil {
		t.Fatal(err)
	}
	b := file.Bytes()
	tail := b[len(b)-format.PageIndexTail:]
	size, err := format.PageIndexSize(tail, int64(len(b)))
	if err != nil {
		t.Fatal(err)
	}
	index := b[int64(len(b))-format.PageIndexTail-size : len(b)-format.PageIndexTail]
	parse := func(b []byte) (got []uint32, err error) {
		err = format.ParsePageIndex(b, func(e format.PageEntry) { got = append(got, e.Number) })
		return got, err
	}
	if got, err := parse(index); err != nil || !slices.Equal(got, want) {
		t.Errorf("%v, %v", got, err)
	}
	for n := range index {
		if _, err := parse(index[:n]); !errors.Is(err, format.ErrCorrupt) {
			t.Errorf("%d bytes: %v", n, err)
		}
	}
	if _, err := parse(append(slices.Clone(index), 0)); !errors.Is(err, format.ErrCorrupt) {
		t.Errorf("longer: %v", err)
	}
	if _, err := format.PageIndexSize(tail, format.LTXHeaderSize+format.PageIndexTail+size-1); !errors.Is(err, format.ErrCorrupt) {
		t.Errorf("larger than the file: %v", err)
	}
}

func FuzzPageIndex(f *testing.F) {
	f.Add([]byte{1, 100, 10, 2, 110, 10, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		var last format.PageEntry
		format.ParsePageIndex(b, func(e format.PageEntry) {
			if e.Number <= last.Number || e.Offset != max(last.End(), format.LTXHeaderSize) {
				t.Errorf("%+v after %+v", e, last)
			}
			last = e
		})
	})
}
