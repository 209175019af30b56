package format_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/ncruces/go-sqlite3"

	"github.com/walvfs/walvfs/format"
)

func TestParseWALIndexOfAnOpenDatabase(t *testing.T) {
	for _, pageSize := range pageSizes {
		t.Run(fmt.Sprint(pageSize), func(t *testing.T) {
			db, path := liveWAL(t, pageSize) // with an open transaction
			wal := readFile(t, path+"-wal")
			x, err := format.ParseWALIndex(readFile(t, path+"-shm"))
			if err != nil {
				t.Fatal(err)
			}
			h, last, f, err := format.LastCommit(bytes.NewReader(wal))
			if err != nil {
				t.Fatal(err)
			}
			want := format.WALIndex{
				BigEndian:     h.BigEndian,
				PageSize:      pageSize,
				MxFrame:       last,
				NPage:         f.Commit,
				FrameChecksum: f.Checksum,
				Salt:          h.Salt,
				Change:        x.Change, // the WAL does not have it
			}
			if x != want || x.Change == 0 {
				t.Fatalf("the index says %+v, the WAL %+v", x, want)
			}
			exec(t, db, "COMMIT")

			x, err = format.ParseWALIndex(readFile(t, path+"-shm"))
			if err != nil {
				t.Fatal(err)
			}
			var busy, log, done, pages uint32
			if err := db.QueryRow("PRAGMA page_count").Scan(&pages); err != nil {
				t.Fatal(err)
			}
			if err := db.QueryRow("PRAGMA wal_checkpoint(PASSIVE)").Scan(&busy, &log, &done); err != nil {
				t.Fatal(err)
			}
			if x.MxFrame != log || x.MxFrame <= last || x.NPage != pages {
				t.Fatalf("the index says %+v, SQLite %d frames and %d pages, the last commit was %d", x, log, pages, last)
			}
		})
	}
}

// walIndexBytes makes both copies of a header from the specification.
func walIndexBytes(szPage uint16) []byte {
	b := make([]byte, 40)
	binary.NativeEndian.PutUint32(b, 3007000)
	binary.NativeEndian.PutUint32(b[8:], 7)
	b[12] = 1
	binary.NativeEndian.PutUint16(b[14:], szPage)
	binary.NativeEndian.PutUint32(b[16:], 11)
	binary.NativeEndian.PutUint32(b[20:], 5)
	copy(b[32:], "saltsalt")
	return sealWALIndex(b)
}

func sealWALIndex(b []byte) []byte {
	big := binary.NativeEndian.Uint16([]byte{0, 1}) == 1
	sum := format.WALChecksum(big, [2]uint32{}, b[:40])
	b = binary.NativeEndian.AppendUint32(b[:40], sum[0])
	b = binary.NativeEndian.AppendUint32(b, sum[1])
	return append(b, b...)
}

func TestParseWALIndexRefuses(t *testing.T) {
	seal := func(change func(b []byte)) []byte {
		b := walIndexBytes(4096)
		change(b)
		return sealWALIndex(b)
	}
	tests := []struct {
		name string
		b    []byte
	}{
		{"nothing", nil},
		{"95 bytes", walIndexBytes(4096)[:95]},
		{"zeros", make([]byte, 96)},
		{"not initialised", seal(func(b []byte) { b[12] = 0 })},
		{"another version", seal(func(b []byte) { b[0] ^= 1 })},
		{"page size 0", walIndexBytes(0)},
		{"page size 513", walIndexBytes(513)},
	}
	for _, tt := range tests {
		if _, err := format.ParseWALIndex(tt.b); !errors.Is(err, format.ErrWALIndex) {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
	for szPage, want := range map[uint16]uint32{512: 512, 32768: 32768, 1: 65536} {
		if x, err := format.ParseWALIndex(walIndexBytes(szPage)); err != nil || x.PageSize != want {
			t.Errorf("page size field %d: %d, %v", szPage, x.PageSize, err)
		}
	}
}

func TestParseWALIndexFindsEachFlippedByte(t *testing.T) {
	b := walIndexBytes(4096)
	for i := range b {
		b[i] ^= 4 // in one copy, as in a torn read
		if _, err := format.ParseWALIndex(b); !errors.Is(err, format.ErrWALIndex) {
			t.Errorf("byte %d: %v", i, err)
		}
		b[(i+48)%96] ^= 4 // in both copies
		if _, err := format.ParseWALIndex(b); !errors.Is(err, format.ErrWALIndex) {
			t.Errorf("byte %d of both: %v", i, err)
		}
		b[i], b[(i+48)%96] = b[i]^4, b[(i+48)%96]^4
	}
	if _, err := format.ParseWALIndex(b); err != nil {
		t.Fatal(err)
	}
}

func TestParseWALIndexDoesNotAllocate(t *testing.T) {
	b := walIndexBytes(4096)
	var x format.WALIndex
	var err error
	if n := testing.AllocsPerRun(100, func() { x, err = format.ParseWALIndex(b) }); n != 0 || err != nil || x.MxFrame != 11 {
		t.Errorf("%v allocations, %+v, %v", n, x, err)
	}
}

func FuzzParseWALIndex(f *testing.F) {
	f.Add(walIndexBytes(4096))
	f.Add(walIndexBytes(1))
	f.Fuzz(func(t *testing.T, b []byte) {
		if _, err := format.ParseWALIndex(b); err != nil && !errors.Is(err, format.ErrWALIndex) {
			t.Fatalf("untyped error %v", err)
		}
	})
}

// The index lists the page of each frame of the WAL, block after block.
func TestWALIndexPages(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.db")
	conn, err := sqlite3.Open("file:" + path + "?_pragma=page_size(512)&_pragma=journal_mode(wal)&_pragma=wal_autocheckpoint(0)")
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.Exec("CREATE TABLE t (x); INSERT INTO t SELECT randomblob(450) FROM generate_series(1, 9000)"); err != nil {
		t.Fatal(err)
	}
	wal, err := os.ReadFile(path + "-wal")
	if err != nil {
		t.Fatal(err)
	}
	index, err := os.ReadFile(path + "-shm")
	if err != nil {
		t.Fatal(err)
	}
	frames := uint32(len(wal)-format.WALHeaderSize) / (512 + format.FrameHeaderSize)
	if frames < 9000 {
		t.Fatalf("only %d frames", frames)
	}
	for n := uint32(1); n <= frames; {
		offset, listed := format.WALIndexPages(n)
		for range listed {
			var want uint32 // beyond the last frame
			if n <= frames {
				want = format.ParseFrame(wal[format.FrameOffset(512, n):]).Page
			}
			if got := binary.NativeEndian.Uint32(index[offset:]); got != want {
				t.Fatalf("frame %d is of page %d, and the index has %d", n, want, got)
			}
			n++
			offset += 4
		}
	}
}
