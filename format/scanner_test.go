package format_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc64"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/superfly/ltx"
	"pgregory.net/rapid"

	"github.com/walvfs/walvfs/format"
)

// scan reads an LTX file as a restore does: it feeds pieces, and decodes pages in groups,
// in any order.
func scan(b []byte, piece, group int) (h format.LTXHeader, pages []page, whole uint32, err error) {
	var frames []format.PageFrame
	s := format.NewScanner(func(f format.PageFrame) error {
		frames = append(frames, f)
		return nil
	})
	var left []byte
	for rest := b; len(rest) > 0; {
		n := min(piece, len(rest))
		left = slices.Concat(left, rest[:n])
		rest = rest[n:]
		used, err := s.Feed(left)
		if err != nil {
			return h, nil, 0, err
		}
		if left = left[used:]; len(left) >= format.MaxPageFrame {
			return h, nil, 0, fmt.Errorf("%d bytes were not used", len(left))
		}
	}
	if err := s.Close(); err != nil {
		return h, nil, 0, err
	}
	h = s.Header()
	pages = make([]page, len(frames))
	sums := make([]format.PageSum, (len(frames)+group-1)/group)
	for _, i := range rand.Perm(len(sums)) {
		var d format.PageDecoder
		sums[i] = s.Sum()
		for j := i * group; j < min((i+1)*group, len(frames)); j++ {
			pages[j] = page{frames[j].Number, make([]byte, h.PageSize)}
			if err := d.Decode(frames[j], pages[j].data, &sums[i]); err != nil {
				return h, nil, 0, err
			}
		}
	}
	return h, pages, s.Whole(), s.Verify(sums)
}

// A Scanner and PageDecoders give the same result as Decode.
func TestScanner(t *testing.T) {
	for _, size := range pageSizes {
		for _, legacy := range []bool{false, true} {
			for name, numbers := range map[string][]uint32{"some": {2, 3, 5, 9, 10}, "none": nil, "all": {1, 2, 3, 4, 5, 6, 7, 8, 9, 10}} {
				pages := somePages(size, numbers...)
				for _, p := range pages {
					if p.no%2 == 0 {
						rand.NewChaCha8([32]byte{byte(p.no)}).Read(p.data) // does not compress
					}
				}
				b := specLTX(t, header(size, 10, 7, 9), pages, legacy)
				for _, piece := range []int{max(1, int(size)/400), 99, 4096, len(b)} {
					checkScan(t, fmt.Sprint(size, legacy, name, piece), b, piece, 3)
				}
			}
		}
	}
}

func checkScan(t *testing.T, name string, b []byte, piece, group int) {
	t.Helper()
	wantHeader, want, err := libraryDecode(b)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	h, got, _, err := scan(b, piece, group)
	if err != nil || *libraryHeader(h) != wantHeader || !slices.EqualFunc(got, want, func(p, q page) bool { return p.no == q.no && bytes.Equal(p.data, q.data) }) {
		t.Errorf("%s: %d pages of %d, header %+v of %+v, %v", name, len(got), len(want), h, wantHeader, err)
	}
}

// libraryDecode decodes with the reference implementation.
func libraryDecode(b []byte) (h ltx.Header, pages []page, err error) {
	d := ltx.NewDecoder(bytes.NewReader(b))
	if err := d.DecodeHeader(); err != nil {
		return h, nil, err
	}
	for {
		var ph ltx.PageHeader
		data := make([]byte, d.Header().PageSize)
		err := d.DecodePage(&ph, data)
		if err == io.EOF {
			return d.Header(), pages, d.Close()
		}
		if err != nil {
			return h, nil, err
		}
		pages = append(pages, page{ph.Pgno, data})
	}
}

// The scanner verifies files with a database checksum against it.
func TestScannerDatabaseChecksum(t *testing.T) {
	for _, wrong := range []ltx.Checksum{0, 1} {
		pages := somePages(512, 1, 2, 3)
		var sum ltx.Checksum
		var b bytes.Buffer
		enc, err := ltx.NewEncoder(&b)
		if err != nil {
			t.Fatal(err)
		}
		err = enc.EncodeHeader(ltx.Header{Version: ltx.Version, PageSize: 512, Commit: 3, MinTXID: 1, MaxTXID: 1, Timestamp: 1})
		for _, p := range pages {
			err = errors.Join(err, enc.EncodePage(ltx.PageHeader{Pgno: p.no}, p.data))
			sum ^= ltx.ChecksumPage(p.no, p.data)
		}
		enc.SetPostApplyChecksum(ltx.ChecksumFlag | sum ^ wrong)
		if err := errors.Join(err, enc.Close()); err != nil {
			t.Fatal(err)
		}
		_, _, _, err = scan(b.Bytes(), 100, 2)
		if _, _, want := decode(b.Bytes()); (want == nil) != (err == nil) || err != nil && !errors.Is(err, format.ErrCorrupt) {
			t.Errorf("checksum wrong by %d: %v, Decode says %v", wrong, err, want)
		}
	}
}

// Both decoders report damage as corrupt, wherever it is, and no damage makes them panic
// or allocate without limit.
func TestScannerFindsDamage(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		size := rapid.SampledFrom(pageSizes[:4]).Draw(rt, "page size")
		commit := rapid.Uint32Range(1, 8).Draw(rt, "commit")
		lo := format.TXID(rapid.Uint64Range(1, 2).Draw(rt, "lo"))
		var numbers []uint32
		for n := uint32(1); n <= commit; n++ {
			if lo == 1 || rapid.Bool().Draw(rt, "has") {
				numbers = append(numbers, n)
			}
		}
		b := specLTX(t, header(size, commit, lo, 3), somePages(size, numbers...), rapid.Bool().Draw(rt, "legacy"))
		for range rapid.IntRange(0, 2).Draw(rt, "damages") {
			switch i := rapid.IntRange(0, len(b)-1).Draw(rt, "at"); rapid.IntRange(0, 2).Draw(rt, "damage") {
			case 0:
				b[i] ^= rapid.Byte().Draw(rt, "xor")
			case 1:
				b = b[:max(i, 1)]
			case 2:
				b = slices.Insert(b, i, rapid.Byte().Draw(rt, "inserted"))
			}
		}
		_, want, wantErr := decode(b)
		_, got, _, err := scan(b, rapid.IntRange(1, len(b)).Draw(rt, "piece"), 1+len(b)%5)
		if (err == nil) != (wantErr == nil) || err == nil && len(got) != len(want) {
			rt.Fatalf("Scanner says %v, Decode %v", err, wantErr)
		}
		if err != nil && !errors.Is(err, format.ErrCorrupt) {
			rt.Fatalf("error is %v", err)
		}
	})
}

// The scanner finds errors that only a wrong encoder can cause: the checksum is right.
func TestScannerFindsWrongEncoding(t *testing.T) {
	h := header(512, 9, 2, 2)
	good := specLTX(t, h, somePages(512, 2, 5), false)
	at := bytes.LastIndex(good, []byte{0, 0, 0, 0, 0, 0, 2}) + 6 // the index
	for name, forge := range map[string]func(b []byte){
		"the index names another page": func(b []byte) { b[at] = 3 },
		"the index is in disorder":     func(b []byte) { b[at] = 6 },
		"a page is said to be short":   func(b []byte) { b[at+2] = 1 },
		"pages overlap":                func(b []byte) { b[at+2]++ },
		"there is a gap":               func(b []byte) { b[at+4]++ },
		"a size, and what follows":     func(b []byte) { b[at+2]++; b[at+4]++; b[at+5]-- },
		"the index's size":             func(b []byte) { b[len(b)-17]++ },
	} {
		b := bytes.Clone(good)
		forge(b)
		resum(b, at)
		if _, _, _, err := scan(b, 50, 1); !errors.Is(err, format.ErrCorrupt) || !strings.Contains(err.Error(), "page index") {
			t.Errorf("%s: error is %v", name, err)
		}
		if _, _, err := decode(b); err == nil {
			t.Errorf("%s: Decode takes it", name)
		}
	}
	resum(good, at)
	if _, _, _, err := scan(good, 50, 1); err != nil {
		t.Error(err)
	}
}

// resum gives a file with a changed page index the matching checksum.
func resum(b []byte, at int) {
	pages := somePages(512, 2, 5)
	hash := crc64.New(crc64.MakeTable(crc64.ISO))
	hash.Write(b[:format.LTXHeaderSize])
	for i, offset := 0, format.LTXHeaderSize; i < len(pages); i++ {
		hash.Write(b[offset : offset+10])
		hash.Write(pages[i].data)
		offset += 10 + int(binary.BigEndian.Uint32(b[offset+6:]))
	}
	hash.Write(b[at-6 : len(b)-8])
	binary.BigEndian.PutUint64(b[len(b)-8:], hash.Sum64()|1<<63)
}

// The scanner refuses a size that no page can need at once, without waiting for the
// bytes.
func TestScannerRefusesSizes(t *testing.T) {
	for _, legacy := range []bool{false, true} {
		b := specLTX(t, header(512, 9, 2, 2), somePages(512, 2, 5), legacy)
		at := format.LTXHeaderSize + 6
		if legacy {
			at += 7 // the size of the frame's first block, in the other byte order
		}
		b[at], b[at+3] = 0x7f, 0x7f
		s := format.NewScanner(func(format.PageFrame) error { return nil })
		if _, err := s.Feed(b[:at+4]); !errors.Is(err, format.ErrCorrupt) {
			t.Errorf("legacy %t: error is %v", legacy, err)
		}
	}
}

// The decoder refuses a block that decompresses to less than a page.
func TestScannerRefusesShortBlock(t *testing.T) {
	h := header(512, 9, 2, 2)
	long, short := somePages(512, 2), somePages(256, 2)
	b := specLTX(t, h, short, false)
	copy(b, specLTX(t, h, long, false)[:format.LTXHeaderSize])
	if _, _, _, err := scan(b, len(b), 1); !errors.Is(err, format.ErrCorrupt) || !strings.Contains(err.Error(), "page 2: it has 256 bytes, not 512") {
		t.Errorf("error is %v", err)
	}
	if _, _, err := decode(b); !errors.Is(err, format.ErrCorrupt) {
		t.Errorf("Decode: error is %v", err)
	}
}

func TestScannerWhole(t *testing.T) {
	lock := format.LockPage(65536)
	for _, c := range []struct {
		commit, want uint32
		numbers      []uint32
	}{
		{5, 1, []uint32{1, 2, 3, 4, 5}},
		{5, 2, []uint32{2, 3, 4, 5}},
		{5, 5, []uint32{1, 2, 3, 5}},
		{5, 6, []uint32{1, 2, 3, 4}},
		{5, 6, nil},
		{lock + 2, lock - 1, []uint32{lock - 1, lock + 1, lock + 2}},
		{lock + 2, lock + 1, []uint32{lock + 1, lock + 2}},
		{lock, lock - 1, []uint32{lock - 1}},
		{lock + 1, lock + 2, []uint32{lock - 1}},
	} {
		_, _, whole, err := scan(specLTX(t, header(65536, c.commit, 2, 2), somePages(65536, c.numbers...), false), 1000, 3)
		if err != nil || whole != c.want {
			t.Errorf("%d pages with %d: whole from %d on, want %d, %v", c.commit, c.numbers, whole, c.want, err)
		}
	}
}

func BenchmarkScanner(b *testing.B) {
	var numbers []uint32
	for n := range uint32(4096) {
		numbers = append(numbers, n+1)
	}
	pages := somePages(4096, numbers...)
	for _, p := range pages {
		rand.NewChaCha8([32]byte{byte(p.no)}).Read(p.data[:2048])
	}
	file := specLTX(b, header(4096, 4096, 1, 1), pages, false)
	b.Run("Decode", func(b *testing.B) {
		b.SetBytes(4096 * 4096)
		for b.Loop() {
			if _, _, err := format.Decode(bytes.NewReader(file), nil); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("Feed", func(b *testing.B) {
		b.SetBytes(4096 * 4096)
		for b.Loop() {
			if _, err := format.NewScanner(func(format.PageFrame) error { return nil }).Feed(file); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("Decode pages", func(b *testing.B) {
		b.SetBytes(4096 * 4096)
		var d format.PageDecoder
		page := make([]byte, 4096)
		for b.Loop() {
			var sum format.PageSum
			if _, err := format.NewScanner(func(f format.PageFrame) error { return d.Decode(f, page, &sum) }).Feed(file); err != nil {
				b.Fatal(err)
			}
		}
	})
}
