package format_test

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"reflect"
	"runtime"
	"testing"

	"github.com/superfly/ltx"
	"pgregory.net/rapid"

	"github.com/walvfs/walvfs/format"
)

func TestEncoderWritesTheSpecification(t *testing.T) {
	random := make([]byte, 4096) // does not compress
	for i := range random {
		random[i] = byte(rand.Uint32())
	}
	tests := []struct {
		name  string
		h     format.LTXHeader
		pages []page
	}{
		{"first file", header(4096, 3, 1, 1), somePages(4096, 1, 2, 3)},
		{"snapshot", header(4096, 3, 1, 9), somePages(4096, 1, 2, 3)},
		{"some pages", header(4096, 100, 7, 7), somePages(4096, 3, 50, 100)},
		{"no pages", header(4096, 100, 7, 7), nil},
		{"zeros", header(4096, 1, 1, 1), []page{{1, make([]byte, 4096)}}},
		{"random", header(4096, 1, 1, 1), []page{{1, random}}},
		{"512", header(512, 2, 1, 1), somePages(512, 1, 2)},
		{"65536", header(65536, 2, 1, 1), somePages(65536, 1, 2)},
		{"around the lock page", header(65536, 20000, 2, 2), somePages(65536, 16384, 16386)},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := encode(t, tt.h, tt.pages)
			if want := specLTX(t, tt.h, tt.pages, false); !bytes.Equal(got, want) {
				t.Fatalf("wrote\n%x\nspecified is\n%x", got, want)
			}
			dec := ltx.NewDecoder(bytes.NewReader(got))
			if err := dec.Verify(); err != nil {
				t.Fatalf("the library refuses it: %v", err)
			}
			h, pages, err := decode(got)
			if err != nil || h != tt.h || *libraryHeader(h) != dec.Header() || !reflect.DeepEqual(pages, tt.pages) {
				t.Fatalf("decodes to %+v, %d pages, %v", h, len(pages), err)
			}
			if h, err := format.ParseLTXHeader(got[:format.LTXHeaderSize]); err != nil || h != tt.h {
				t.Errorf("header alone: %+v, %v", h, err)
			}
			tr, err := format.ParseLTXTrailer(got[len(got)-format.LTXTrailerSize:])
			if err != nil || tr != (format.LTXTrailer{FileChecksum: format.Checksum(dec.Trailer().FileChecksum)}) {
				t.Errorf("trailer alone: %+v, %v", tr, err)
			}
		})
	}
}

// Several encoders write files at once, so that each reuses buffers with data from
// others.
func TestEncoderWritesWhatTheLibraryWrites(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		size := rapid.SampledFrom([]int{512, 1024, 4096, 65536}).Draw(t, "page size")
		h := header(uint32(size), 1<<20, 2, 3)
		var got, want, other bytes.Buffer
		enc, err := format.NewEncoder(&got, h)
		if err != nil {
			t.Fatal(err)
		}
		aborted, err := format.NewEncoder(&other, h)
		if err != nil {
			t.Fatal(err)
		}
		lib, err := ltx.NewEncoder(&want)
		if err := errors.Join(err, lib.EncodeHeader(*libraryHeader(h))); err != nil {
			t.Fatal(err)
		}
		number := uint32(0)
		for range rapid.IntRange(0, 40).Draw(t, "pages") {
			number += uint32(rapid.SampledFrom([]int{1, 1, 1, 2, 300, 20000}).Draw(t, "skip"))
			data := somePage(size, rapid.Uint64().Draw(t, "seed"), rapid.IntRange(0, size).Draw(t, "random bytes"))
			err := errors.Join(enc.Page(number, data), lib.EncodePage(ltx.PageHeader{Pgno: number}, data), aborted.Page(number, data[:size]))
			if err != nil {
				t.Fatal(err)
			}
		}
		aborted.Abort()
		sum, err := enc.Close()
		if err := errors.Join(err, lib.Close()); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got.Bytes(), want.Bytes()) || sum != format.Checksum(lib.Trailer().FileChecksum) || enc.N() != lib.N() {
			t.Fatalf("%d bytes with %s, the library writes %d with %s", got.Len(), sum, want.Len(), lib.Trailer().FileChecksum)
		}
	})
}

// somePage returns a page with n incompressible bytes; the others compress.
func somePage(size int, seed uint64, n int) []byte {
	data := bytes.Repeat([]byte("a page "), size/7+1)[:size]
	random := rand.New(rand.NewPCG(seed, 0))
	for i := range n {
		data[i] = byte(random.Uint32())
	}
	return data
}

// An index takes a few bytes per page, however large the file is.
func TestEncoderKeepsLittle(t *testing.T) {
	const pages = 1 << 18
	enc, err := format.NewEncoder(io.Discard, header(512, pages, 2, 2))
	if err != nil {
		t.Fatal(err)
	}
	defer enc.Abort()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	data := somePage(512, 1, 512)
	for n := uint32(1); n <= pages; n++ {
		if err := enc.Page(n, data); err != nil {
			t.Fatal(err)
		}
	}
	runtime.ReadMemStats(&after)
	if got := (after.TotalAlloc - before.TotalAlloc) / pages; got > 3 {
		t.Errorf("%d bytes a page", got)
	}
}

func TestEncoderForcesWhatIsTheSameInAllFiles(t *testing.T) {
	h := header(512, 1, 2, 2)
	h.Version, h.Flags, h.PreApplyChecksum = 0, 0, format.Checksum(ltx.ChecksumFlag|5)
	if got, _, err := decode(encode(t, h, nil)); err != nil || got != header(512, 1, 2, 2) {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestEncoderCountsAndReturnsTheChecksum(t *testing.T) {
	var out bytes.Buffer
	enc, err := format.NewEncoder(&out, header(512, 1, 1, 1))
	if err != nil || enc.N() != format.LTXHeaderSize {
		t.Fatal(enc.N(), err)
	}
	if err := enc.Page(1, make([]byte, 512)); err != nil {
		t.Fatal(err)
	}
	sum, err := enc.Close()
	if err != nil || enc.N() != int64(out.Len()) {
		t.Fatalf("%d bytes counted, %d written, %v", enc.N(), out.Len(), err)
	}
	if tr, err := format.ParseLTXTrailer(out.Bytes()[out.Len()-16:]); err != nil || tr.FileChecksum != sum {
		t.Errorf("%s returned, %s written, %v", sum, tr.FileChecksum, err)
	}
	enc.Abort()
	if again, err := enc.Close(); again != sum || err != nil || enc.N() != int64(out.Len()) {
		t.Errorf("a second Close: %s, %v", again, err)
	}
}

func TestEncoderRefusesHeaders(t *testing.T) {
	bad := func(change func(h *format.LTXHeader)) format.LTXHeader {
		h := header(512, 3, 2, 2)
		change(&h)
		return h
	}
	for name, h := range map[string]format.LTXHeader{
		"no database":     bad(func(h *format.LTXHeader) { h.Commit = 0 }),
		"page size":       bad(func(h *format.LTXHeader) { h.PageSize = 1000 }),
		"no TXID":         bad(func(h *format.LTXHeader) { h.MinTXID = 0 }),
		"TXIDs reversed":  bad(func(h *format.LTXHeader) { h.MinTXID = 3 }),
		"salts, no place": bad(func(h *format.LTXHeader) { h.WALSalt1, h.WALOffset = 1, 0 }),
	} {
		if _, err := format.NewEncoder(io.Discard, h); err == nil {
			t.Errorf("header accepted: %s", name)
		}
	}
}

func TestEncoderRefusesPages(t *testing.T) {
	lock := format.LockPage(512)
	full := make([]byte, 512)
	tests := []struct {
		name    string
		h       format.LTXHeader
		before  []uint32
		no      uint32
		data    []byte
		closing bool // refused by Close
	}{
		{"page 0", header(512, 3, 2, 2), nil, 0, full, false},
		{"beyond the end", header(512, 3, 2, 2), nil, 4, full, false},
		{"descending", header(512, 3, 2, 2), []uint32{2}, 1, full, false},
		{"twice", header(512, 3, 2, 2), []uint32{2}, 2, full, false},
		{"lock page", header(512, lock+9, 2, 2), nil, lock, full, false},
		{"short", header(512, 3, 2, 2), nil, 1, full[1:], false},
		{"long", header(512, 3, 2, 2), nil, 1, append(full, 0), false},
		{"snapshot without page 1", header(512, 3, 1, 2), nil, 2, full, false},
		{"snapshot without page 2", header(512, 3, 1, 2), []uint32{1}, 3, full, false},
		{"snapshot without its last page", header(512, 3, 1, 2), []uint32{1, 2}, 0, nil, true},
		{"snapshot without pages", header(512, 3, 1, 1), nil, 0, nil, true},
	}
	for _, tt := range tests {
		enc, err := format.NewEncoder(io.Discard, tt.h)
		if err != nil {
			t.Fatal(err)
		}
		for _, no := range tt.before {
			if err := enc.Page(no, full); err != nil {
				t.Fatal(err)
			}
		}
		if tt.closing {
			_, err = enc.Close()
		} else {
			err = enc.Page(tt.no, tt.data)
		}
		if err == nil {
			t.Errorf("accepted: %s", tt.name)
		}
		if tt.closing {
			for no := uint32(1); no <= tt.h.Commit; no++ {
				err = errors.Join(err, enc.Page(no, full))
			}
			if _, cerr := enc.Close(); cerr == nil || !errors.Is(err, ltx.ErrEncoderAborted) {
				t.Errorf("%s: went on after Close failed: %v, %v", tt.name, err, cerr)
			}
		}
	}
}

func TestEncoderGoesOnAfterARefusedPage(t *testing.T) {
	var out bytes.Buffer
	enc, err := format.NewEncoder(&out, header(512, 2, 1, 1))
	if err != nil {
		t.Fatal(err)
	}
	p := somePages(512, 1, 2)
	for _, no := range []uint32{2, 3} {
		if err := enc.Page(no, p[1].data); err == nil {
			t.Errorf("page %d came first", no)
		}
	}
	if err := enc.Page(1, p[0].data[1:]); err == nil {
		t.Error("a short page was accepted")
	}
	if err := errors.Join(enc.Page(1, p[0].data), enc.Page(2, p[1].data)); err != nil {
		t.Fatal(err)
	}
	if _, err := enc.Close(); err != nil {
		t.Fatal(err)
	}
	if _, pages, err := decode(out.Bytes()); err != nil || !reflect.DeepEqual(pages, p) {
		t.Errorf("%d pages, %v", len(pages), err)
	}
}

// failingWriter fails once it has received more than n bytes.
type failingWriter struct{ n int }

func (w *failingWriter) Write(b []byte) (int, error) {
	if w.n -= len(b); w.n < 0 {
		return 0, errDisk
	}
	return len(b), nil
}

func TestEncoderReportsTheWritersError(t *testing.T) {
	h, pages := header(65536, 4, 2, 2), somePages(65536, 1, 2, 3, 4)
	for _, p := range pages {
		for i := range p.data {
			p.data[i] = byte(rand.Uint32())
		}
	}
	size := len(encode(t, h, pages))
	for n := 0; n < size; n += size / 10 {
		enc, err := format.NewEncoder(&failingWriter{n}, h)
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range pages {
			err = errors.Join(err, enc.Page(p.no, p.data))
		}
		if _, cerr := enc.Close(); cerr == nil {
			t.Errorf("Close succeeded although only %d bytes of %d were written", n, size)
		} else if err = errors.Join(err, cerr); !errors.Is(err, errDisk) {
			t.Errorf("after %d bytes: %v", n, err)
		}
	}
}

func TestAbortedEncoderDoesNotComplete(t *testing.T) {
	enc, err := format.NewEncoder(io.Discard, header(512, 1, 2, 2))
	if err != nil {
		t.Fatal(err)
	}
	enc.Abort()
	enc.Abort()
	if err := enc.Page(1, make([]byte, 512)); err == nil {
		t.Error("a page after Abort")
	}
	if _, err := enc.Close(); err == nil {
		t.Error("Close after Abort")
	}
}

// The snapshot of a database of more than 1 GiB skips the lock page.
func TestSnapshotSkipsTheLockPage(t *testing.T) {
	if testing.Short() || raceEnabled {
		t.Skip("hashes 1 GiB twice")
	}
	const commit = 16386 // pages of 64 KiB; 16385 is the lock page
	name := t.TempDir() + "/big.ltx"
	out, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	enc, err := format.NewEncoder(out, header(65536, commit, 1, 1))
	if err != nil {
		t.Fatal(err)
	}
	zeros := make([]byte, 65536)
	for no := uint32(1); no <= commit; no++ {
		err := enc.Page(no, zeros)
		if (err != nil) != (no == 16385) {
			t.Fatalf("page %d: %v", no, err)
		}
	}
	if _, err := enc.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := out.Seek(0, io.SeekStart); err != nil {
		t.Fatal(err)
	}
	n := 0
	_, _, err = format.Decode(out, func(format.LTXHeader, uint32, []byte) error { n++; return nil })
	if err != nil || n != commit-1 {
		t.Fatalf("%d pages, %v", n, err)
	}
}
