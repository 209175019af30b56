package format_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"testing"

	"github.com/walvfs/walvfs/format"
)

// applyWAL returns a database file after applying a WAL's committed frames, as a
// checkpoint does.
func applyWAL(t *testing.T, db, wal []byte) []byte {
	t.Helper()
	h, last, f, err := format.LastCommit(bytes.NewReader(wal))
	if err != nil {
		t.Fatal(err)
	}
	out := append([]byte(nil), db...)
	_, err = format.ScanWAL(bytes.NewReader(wal), func(n uint32, f format.Frame, page []byte) error {
		if n > last {
			return nil
		}
		end := int(f.Page) * int(h.PageSize)
		if grow := end - len(out); grow > 0 {
			out = append(out, make([]byte, grow)...)
		}
		copy(out[end-len(page):end], page)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out[:int(f.Commit)*int(h.PageSize)]
}

func TestScanWALReadsWhatSQLiteWrites(t *testing.T) {
	for _, pageSize := range pageSizes {
		t.Run(fmt.Sprint(pageSize), func(t *testing.T) {
			db, path := liveWAL(t, pageSize)
			wal, main := readFile(t, path+"-wal"), readFile(t, path)
			exec(t, db, "ROLLBACK")

			var valid uint32
			h, err := format.ScanWAL(bytes.NewReader(wal), func(n uint32, f format.Frame, page []byte) error {
				if n != valid+1 || uint32(len(page)) != pageSize || f.Page == 0 {
					t.Fatalf("frame %d after %d: %+v, %d bytes", n, valid, f, len(page))
				}
				if got := wal[format.FrameOffset(pageSize, n):][:format.FrameHeaderSize]; format.ParseFrame(got) != f || !bytes.Equal(f.AppendTo(nil), got) {
					t.Fatalf("frame %d is not at FrameOffset, or encodes differently", n)
				}
				valid = n
				return nil
			})
			if err != nil || h.PageSize != pageSize || h.Salt.IsZero() {
				t.Fatalf("header %+v, %v", h, err)
			}
			_, last, f, err := format.LastCommit(bytes.NewReader(wal))
			if err != nil || last == 0 || last > valid || f.Commit == 0 {
				t.Fatalf("last commit %d of %d: %+v, %v", last, valid, f, err)
			}
			if size := format.FrameOffset(pageSize, last+1); size >= int64(len(wal)) {
				t.Fatalf("the WAL has no uncommitted tail: this test does not test what it should")
			}

			dir := t.TempDir()
			writeFile(t, filepath.Join(dir, "applied.db"), applyWAL(t, main, wal))
			if contents(t, openSQLite(t, filepath.Join(dir, "applied.db"))) != contents(t, db) {
				t.Fatal("the database made from the frames differs from the live one")
			}
		})
	}
}

// ScanWAL reads both checksum orders. SQLite writes only its machine's order, so the test
// makes the other WAL.
func TestScanWALReadsBothChecksumOrders(t *testing.T) {
	for _, pageSize := range pageSizes {
		t.Run(fmt.Sprint(pageSize), func(t *testing.T) {
			db, path := liveWAL(t, pageSize)
			wal, main := readFile(t, path+"-wal"), readFile(t, path)
			exec(t, db, "ROLLBACK")
			other := reencodeWAL(t, wal)

			h1, last1, _, err1 := format.LastCommit(bytes.NewReader(wal))
			h2, last2, _, err2 := format.LastCommit(bytes.NewReader(other))
			if err1 != nil || err2 != nil || h1.BigEndian == h2.BigEndian || last1 != last2 {
				t.Fatalf("%+v %d %v; %+v %d %v", h1, last1, err1, h2, last2, err2)
			}
			if !bytes.Equal(applyWAL(t, main, wal), applyWAL(t, main, other)) {
				t.Fatal("the same pages in another checksum order give another database")
			}
			// SQLite's own recovery decides whether the order is right.
			copied := filepath.Join(t.TempDir(), "copy.db")
			writeFile(t, copied, main)
			writeFile(t, copied+"-wal", other)
			if contents(t, openSQLite(t, copied)) != contents(t, db) {
				t.Fatal("SQLite recovers something else")
			}
		})
	}
}

// smallWAL returns three hand-made frames of two transactions. The last two hold the same
// page content, so that bytes left over from reading one could pass for the other.
func smallWAL(bigEndian bool) []byte {
	h := format.WALHeader{BigEndian: bigEndian, PageSize: 512, Sequence: 3, Salt: format.Salt{1, 2, 3, 4, 5, 6, 7, 8}}
	b := h.AppendTo(nil)
	h, _ = format.ParseWALHeader(b)
	sum := h.Checksum
	for i, f := range []format.Frame{{Page: 1}, {Page: 2, Commit: 2}, {Page: 1, Commit: 2}} {
		page := bytes.Repeat([]byte{byte(min(i+1, 2))}, 512)
		f.Salt = h.Salt
		f.Checksum = h.Chain(sum, f, page)
		sum = f.Checksum
		b = append(f.AppendTo(b), page...)
	}
	return b
}

func countFrames(b []byte) (n uint32, err error) {
	_, err = format.ScanWAL(bytes.NewReader(b), func(i uint32, _ format.Frame, _ []byte) error {
		n = i
		return nil
	})
	return n, err
}

func TestScanWALStopsAtEachFlippedByte(t *testing.T) {
	for _, bigEndian := range []bool{false, true} {
		wal := smallWAL(bigEndian)
		if n, err := countFrames(wal); n != 3 || err != nil {
			t.Fatalf("intact: %d frames, %v", n, err)
		}
		for i := range wal {
			wal[i] ^= 0x10
			n, err := countFrames(wal)
			wal[i] ^= 0x10
			if i < format.WALHeaderSize {
				if !errors.Is(err, format.ErrWALHeader) {
					t.Fatalf("byte %d of the header flipped: %v", i, err)
				}
				continue
			}
			want := uint32((i - format.WALHeaderSize) / (format.FrameHeaderSize + 512))
			if n != want || err != nil {
				t.Fatalf("byte %d flipped: %d frames and %v, want %d", i, n, err, want)
			}
		}
	}
}

func TestScanWALStopsAtEachTruncation(t *testing.T) {
	wal := smallWAL(false)
	for size := range wal {
		n, err := countFrames(wal[:size])
		if size < format.WALHeaderSize {
			if !errors.Is(err, format.ErrWALHeader) {
				t.Fatalf("%d bytes: %v", size, err)
			}
			continue
		}
		want := uint32((size - format.WALHeaderSize) / (format.FrameHeaderSize + 512))
		if n != want || err != nil {
			t.Fatalf("%d bytes: %d frames and %v, want %d", size, n, err, want)
		}
	}
}

// Frames of an earlier epoch follow the frames of this epoch, with valid checksums of
// their own chain, and frames can repeat another's checksum with other salts.
func TestScanWALStopsAtOtherSalts(t *testing.T) {
	wal := smallWAL(false)
	wal[format.FrameOffset(512, 2)+8] ^= 1
	if n, err := countFrames(wal); n != 1 || err != nil {
		t.Fatalf("%d frames, %v; want 1", n, err)
	}
}

func TestScanWALStopsAtPageZero(t *testing.T) {
	h := format.WALHeader{PageSize: 512, Salt: format.Salt{1}}
	b := h.AppendTo(nil)
	h, _ = format.ParseWALHeader(b)
	f := format.Frame{Commit: 1, Salt: h.Salt}
	f.Checksum = h.Chain(h.Checksum, f, make([]byte, 512))
	b = append(f.AppendTo(b), make([]byte, 512)...)
	if n, err := countFrames(b); n != 0 || err != nil {
		t.Fatalf("%d frames, %v; want none", n, err)
	}
}

func TestScanContinues(t *testing.T) {
	wal := smallWAL(true)
	h, err := format.ParseWALHeader(wal)
	if err != nil {
		t.Fatal(err)
	}
	first := format.ParseFrame(wal[format.FrameOffset(512, 1):])
	var got []uint32
	err = h.Scan(bytes.NewReader(wal), 1, first.Checksum, func(n uint32, _ format.Frame, page []byte) error {
		if page[0] != 2 {
			t.Errorf("frame %d comes with page %d's bytes", n, page[0])
		}
		got = append(got, n)
		return nil
	})
	if err != nil || fmt.Sprint(got) != "[2 3]" {
		t.Fatalf("%v, %v", got, err)
	}
}

func TestLastCommit(t *testing.T) {
	wal := smallWAL(false)
	for frames, want := range map[uint32]uint32{0: 0, 1: 0, 2: 2, 3: 3} {
		_, last, f, err := format.LastCommit(bytes.NewReader(wal[:format.FrameOffset(512, frames+1)]))
		if last != want || err != nil || (f.Commit != 0) != (want != 0) {
			t.Errorf("%d frames: last %d, %+v, %v; want %d", frames, last, f, err, want)
		}
	}
}

// failingReaderAt fails from an offset onwards.
type failingReaderAt struct {
	r    io.ReaderAt
	from int64
}

var errDisk = errors.New("disk on fire")

func (r failingReaderAt) ReadAt(b []byte, off int64) (int, error) {
	if off >= r.from {
		return 0, errDisk
	}
	return r.r.ReadAt(b, off)
}

func TestScanWALTellsReadErrorsFromTheEnd(t *testing.T) {
	for _, from := range []int64{0, format.WALHeaderSize, format.FrameOffset(512, 3)} {
		_, err := format.ScanWAL(failingReaderAt{bytes.NewReader(smallWAL(false)), from}, nil)
		if !errors.Is(err, errDisk) {
			t.Errorf("failing at %d: %v", from, err)
		}
	}
	_, err := format.ScanWAL(bytes.NewReader(smallWAL(false)), func(uint32, format.Frame, []byte) error { return errDisk })
	if err != errDisk {
		t.Errorf("fn's error became %v", err)
	}
}

// sealWALHeader sets the checksum for the bytes before it.
func sealWALHeader(b []byte) []byte {
	sum := format.WALChecksum(b[3]&1 != 0, [2]uint32{}, b[:24])
	b = binary.BigEndian.AppendUint32(b[:24], sum[0])
	return binary.BigEndian.AppendUint32(b, sum[1])
}

func TestParseWALHeaderRefuses(t *testing.T) {
	valid := format.WALHeader{PageSize: 4096}
	tests := []struct {
		name   string
		change func(b []byte) []byte
	}{
		{"nothing", func(b []byte) []byte { return nil }},
		{"31 bytes", func(b []byte) []byte { return b[:31] }},
		{"zeros", func(b []byte) []byte { return make([]byte, 32) }},
		{"page size 256", func(b []byte) []byte { return format.WALHeader{PageSize: 256}.AppendTo(nil) }},
		{"page size 1000", func(b []byte) []byte { return format.WALHeader{PageSize: 1000}.AppendTo(nil) }},
		{"page size 131072", func(b []byte) []byte { return format.WALHeader{PageSize: 131072}.AppendTo(nil) }},
		{"page size 1", func(b []byte) []byte { return format.WALHeader{PageSize: 1}.AppendTo(nil) }},
		{"another version", func(b []byte) []byte { b[7]++; return sealWALHeader(b) }},
		{"another magic", func(b []byte) []byte { b[0]++; return sealWALHeader(b) }},
		{"checksum of the other order", func(b []byte) []byte { b[3] ^= 1; return b }},
	}
	for _, tt := range tests {
		if _, err := format.ParseWALHeader(tt.change(valid.AppendTo(nil))); !errors.Is(err, format.ErrWALHeader) {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
	if _, err := format.ParseWALHeader(valid.AppendTo(nil)); err != nil {
		t.Errorf("the unchanged one: %v", err)
	}
}

func TestSalt(t *testing.T) {
	s := format.Salt{1, 2, 3, 4, 0xa, 0xb, 0xc, 0xd}
	if s.Salt1() != 0x01020304 || s.Salt2() != 0x0a0b0c0d || s.String() != "010203040a0b0c0d" || s.IsZero() || !(format.Salt{}).IsZero() {
		t.Errorf("%x %x %s", s.Salt1(), s.Salt2(), s)
	}
}

func TestFrameOffsetBeyond4GiB(t *testing.T) {
	if got, want := format.FrameOffset(65536, 1<<20), int64(32+(1<<20-1)*(24+65536)); got != want {
		t.Errorf("%d, want %d", got, want)
	}
}

func TestParseFrameDoesNotAllocate(t *testing.T) {
	b := smallWAL(false)[format.WALHeaderSize:]
	var f format.Frame
	if n := testing.AllocsPerRun(100, func() { f = format.ParseFrame(b) }); n != 0 || f.Page != 1 {
		t.Errorf("%v allocations, %+v", n, f)
	}
}

func FuzzParseWALHeader(f *testing.F) {
	f.Add(smallWAL(false)[:32])
	f.Add(smallWAL(true)[:32])
	f.Add(make([]byte, 32))
	f.Fuzz(func(t *testing.T, b []byte) {
		h, err := format.ParseWALHeader(b)
		if err != nil {
			if !errors.Is(err, format.ErrWALHeader) {
				t.Fatalf("untyped error %v", err)
			}
			return
		}
		if got := h.AppendTo(nil); !bytes.Equal(got, b[:32]) {
			t.Fatalf("%x becomes %x", b[:32], got)
		}
	})
}

func FuzzScanWAL(f *testing.F) {
	f.Add(smallWAL(false))
	f.Add(smallWAL(true))
	f.Fuzz(func(t *testing.T, b []byte) {
		out := []byte(nil)
		h, err := format.ScanWAL(bytes.NewReader(b), func(n uint32, f format.Frame, page []byte) error {
			out = append(f.AppendTo(out), page...)
			return nil
		})
		if err != nil {
			return
		}
		if out = append(h.AppendTo(nil), out...); !bytes.HasPrefix(b, out) {
			t.Fatal("the valid frames encode differently")
		}
	})
}
