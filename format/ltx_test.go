package format_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"reflect"
	"runtime"
	"testing"
	"testing/iotest"

	"github.com/superfly/ltx"
	"pgregory.net/rapid"

	"github.com/walvfs/walvfs/format"
)

func TestDecodeReadsWhatOthersWrite(t *testing.T) {
	t.Run("database checksums", func(t *testing.T) {
		for _, lo := range []format.TXID{1, 5} {
			h := header(512, 2, lo, 5)
			h.Flags = 0
			post := ltx.ChecksumFlag
			if lo != 1 {
				h.PreApplyChecksum = format.Checksum(ltx.ChecksumFlag | 7)
			}
			pages := somePages(512, 1, 2)
			for _, p := range pages {
				post = ltx.ChecksumFlag | (post ^ ltx.ChecksumPage(p.no, p.data))
			}
			var out bytes.Buffer
			enc, _ := ltx.NewEncoder(&out)
			err := enc.EncodeHeader(*libraryHeader(h))
			for _, p := range pages {
				err = errors.Join(err, enc.EncodePage(ltx.PageHeader{Pgno: p.no}, p.data))
			}
			enc.SetPostApplyChecksum(post)
			if err := errors.Join(err, enc.Close()); err != nil {
				t.Fatal(err)
			}
			got, back, err := decode(out.Bytes())
			if err != nil || got != h || !reflect.DeepEqual(back, pages) {
				t.Errorf("%+v, %d pages, %v", got, len(back), err)
			}
		}
	})
	t.Run("pages as LZ4 frames", func(t *testing.T) {
		for _, pageSize := range pageSizes {
			h, pages := header(pageSize, 3, 1, 4), somePages(pageSize, 1, 2, 3)
			got, back, err := decode(specLTX(t, h, pages, true))
			if err != nil || got != h || !reflect.DeepEqual(back, pages) {
				t.Errorf("page size %d: %+v, %d pages, %v", pageSize, got, len(back), err)
			}
		}
	})
}

func TestDecodeRefusesWhatNoFileMayHold(t *testing.T) {
	lock := format.LockPage(65536)
	h := header(65536, lock+1, 2, 2)
	checksummed := h
	checksummed.Flags, checksummed.PreApplyChecksum = 0, format.Checksum(ltx.ChecksumFlag|1)
	tests := []struct {
		name  string
		h     format.LTXHeader
		pages []page
		good  int // pages before the bad one
	}{
		{"descending", h, somePages(65536, 3, 2), 1},
		{"twice", h, somePages(65536, 3, 3), 1},
		{"beyond the end", h, somePages(65536, lock+2), 0},
		{"lock page", h, somePages(65536, lock), 0},
		{"snapshot without page 1", header(512, 2, 1, 1), somePages(512, 2), 0},
		{"snapshot with a hole", header(512, 3, 1, 1), somePages(512, 1, 3), 1},
		{"snapshot without its last page", header(512, 3, 1, 1), somePages(512, 1, 2), 2},
		{"snapshot without pages", header(512, 3, 1, 1), nil, 0},
		{"a database checksum before and none after", checksummed, somePages(65536, 1), 1},
	}
	for _, tt := range tests {
		_, pages, err := decode(specLTX(t, tt.h, tt.pages, false))
		if !errors.Is(err, format.ErrCorrupt) {
			t.Errorf("%s: %v", tt.name, err)
		}
		if len(pages) != tt.good {
			t.Errorf("%s: %d pages were handed out", tt.name, len(pages))
		}
	}
}

func TestDecodeFindsEachTruncation(t *testing.T) {
	b := encode(t, header(512, 3, 1, 1), somePages(512, 1, 2, 3))
	for size := range b {
		_, _, err := decode(b[:size])
		if !errors.Is(err, format.ErrCorrupt) || errors.Is(err, io.EOF) {
			t.Fatalf("%d of %d bytes: %v", size, len(b), err)
		}
	}
	if _, _, err := decode(append(b, 0)); !errors.Is(err, format.ErrCorrupt) {
		t.Errorf("a byte too many: %v", err)
	}
	if _, _, err := decode(append(bytes.Clone(b), b...)); !errors.Is(err, format.ErrCorrupt) {
		t.Errorf("two files in one: %v", err)
	}
}

// The file checksum covers the pages and not their compressed bytes, so a flipped bit
// there may be harmless, but never results in a different page.
func TestDecodeFindsEachFlippedBit(t *testing.T) {
	h, pages := header(512, 3, 1, 1), somePages(512, 1, 2, 3)
	b := encode(t, h, pages)
	for i := range b {
		for bit := range 8 {
			b[i] ^= 1 << bit
			got, back, err := decode(b)
			b[i] ^= 1 << bit
			if err != nil && !errors.Is(err, format.ErrCorrupt) {
				t.Fatalf("bit %d of byte %d: untyped error %v", bit, i, err)
			}
			if err == nil && (got != h || !reflect.DeepEqual(back, pages)) {
				t.Fatalf("bit %d of byte %d: not found", bit, i)
			}
		}
	}
}

func TestDecodeBoundsItsMemory(t *testing.T) {
	b := encode(t, header(512, 1, 2, 2), somePages(512, 1))
	binary.BigEndian.PutUint32(b[format.LTXHeaderSize+ltx.PageHeaderSize:], 1<<32-1)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	_, _, err := decode(b)
	runtime.ReadMemStats(&after)
	if !errors.Is(err, format.ErrCorrupt) {
		t.Fatal(err)
	}
	if n := after.TotalAlloc - before.TotalAlloc; n > 16<<20 {
		t.Errorf("allocated %d bytes for a page of 512", n)
	}
}

func TestDecodeTellsReadErrorsFromCorruption(t *testing.T) {
	b := encode(t, header(512, 3, 1, 1), somePages(512, 1, 2, 3))
	for _, size := range []int{0, 50, 100, 200, len(b) - 1, len(b)} {
		for _, readErr := range []error{errDisk, io.ErrUnexpectedEOF} { // net/http returns the latter
			r := io.MultiReader(bytes.NewReader(b[:size]), iotest.ErrReader(readErr))
			_, _, err := format.Decode(r, nil)
			if !errors.Is(err, readErr) || errors.Is(err, format.ErrCorrupt) {
				t.Errorf("failing after %d of %d bytes: %v", size, len(b), err)
			}
		}
	}
	_, _, err := format.Decode(bytes.NewReader(b), func(format.LTXHeader, uint32, []byte) error { return errDisk })
	if err != errDisk {
		t.Errorf("fn's error became %v", err)
	}
	if _, _, err := format.Decode(iotest.OneByteReader(bytes.NewReader(b)), nil); err != nil {
		t.Errorf("byte by byte: %v", err)
	}
}

func TestParseLTXParts(t *testing.T) {
	b := encode(t, header(512, 1, 1, 1), somePages(512, 1))
	for name, part := range map[string][]byte{
		"short":       b[:99],
		"empty":       nil,
		"magic":       append([]byte("LTX2"), b[4:100]...),
		"flags":       append([]byte("LTX1\xff"), b[5:100]...),
		"zero header": make([]byte, 100),
	} {
		if _, err := format.ParseLTXHeader(part); !errors.Is(err, format.ErrCorrupt) {
			t.Errorf("header, %s: %v", name, err)
		}
	}
	for name, part := range map[string][]byte{"short": b[:15], "long": append(bytes.Clone(b[len(b)-16:]), 0), "zeros": make([]byte, 16)} {
		if _, err := format.ParseLTXTrailer(part); !errors.Is(err, format.ErrCorrupt) {
			t.Errorf("trailer, %s: %v", name, err)
		}
	}
}

func TestLockPage(t *testing.T) {
	for pageSize, want := range map[uint32]uint32{512: 2097153, 4096: 262145, 65536: 16385} {
		if got := format.LockPage(pageSize); got != want {
			t.Errorf("page size %d: %d, want %d", pageSize, got, want)
		}
	}
}

func TestEncodedPagesDecode(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		pageSize := rapid.SampledFrom(pageSizes[:4]).Draw(rt, "page size")
		commit := rapid.Uint32Range(1, 40).Draw(rt, "commit")
		lo := rapid.Uint64Range(1, 3).Draw(rt, "min")
		var pages []page
		for no := uint32(1); no <= commit; no++ {
			if lo == 1 || rapid.Bool().Draw(rt, "has page") {
				data := bytes.Repeat(rapid.SliceOfN(rapid.Byte(), 1, 64).Draw(rt, "content"), int(pageSize))[:pageSize]
				pages = append(pages, page{no, data})
			}
		}
		h := header(pageSize, commit, format.TXID(lo), 3)
		got, back, err := decode(encode(t, h, pages))
		if err != nil || got != h || !reflect.DeepEqual(back, pages) {
			rt.Fatalf("%+v, %d of %d pages, %v", got, len(back), len(pages), err)
		}
	})
}

func FuzzDecode(f *testing.F) {
	f.Add(encode(f, header(512, 3, 1, 1), somePages(512, 1, 2, 3)))
	f.Add(encode(f, header(512, 30, 4, 9), somePages(512, 2, 29)))
	f.Add(encode(f, header(4096, 30, 4, 9), nil))
	f.Add(specLTX(f, header(512, 2, 1, 1), somePages(512, 1, 2), true))
	f.Fuzz(func(t *testing.T, b []byte) {
		h, pages, err := decode(b)
		if err != nil {
			if !errors.Is(err, format.ErrCorrupt) {
				t.Fatalf("untyped error %v", err)
			}
			return
		}
		if err := ltx.NewDecoder(bytes.NewReader(b)).Verify(); err != nil {
			t.Fatalf("accepted, and refused by the library: %v", err)
		}
		if !h.NoChecksum() || h.Commit == 0 {
			return // read, but never written
		}
		// LZ4 has many encodings of one page, so compare the second encoding with the first.
		once := encode(t, h, pages)
		h2, pages2, err := decode(once)
		if err != nil || h2 != h || !reflect.DeepEqual(pages2, pages) || !bytes.Equal(encode(t, h2, pages2), once) {
			t.Fatalf("re-encoded: %+v, %d of %d pages, %v", h2, len(pages2), len(pages), err)
		}
	})
}
