package format_test

import (
	"bytes"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/walvfs/walvfs/format"
)

// golden compares bytes with a file in testdata. UPDATE_GOLDEN=1 writes the file again,
// which is right only after an intended change of the format: buckets hold files in the
// old one.
func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	name = "testdata/" + name
	if os.Getenv("UPDATE_GOLDEN") != "" {
		if err := os.WriteFile(name, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s is another one: %d bytes, not %d", name, len(got), len(want))
	}
}

// The encoder writes the same files as before, byte for byte.
func TestGoldenLTX(t *testing.T) {
	golden(t, "snapshot.ltx", encode(t, header(512, 3, 1, 7), somePages(512, 1, 2, 3)))
	golden(t, "level0.ltx", encode(t, header(4096, 30, 8, 8), somePages(4096, 2, 3, 29)))
}

// testdata/sqlite.wal is SQLite's: two transactions after a checkpoint, in a WAL that
// started over, followed by frames from before.
func TestGoldenWAL(t *testing.T) {
	f, err := os.Open("testdata/sqlite.wal")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var frames strings.Builder
	h, err := format.ScanWAL(f, func(n uint32, f format.Frame, page []byte) error {
		fmt.Fprintf(&frames, "frame %d: page %d, commit %d\n", n, f.Page, f.Commit)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "sqlite.wal.txt", fmt.Appendf(nil, "page size %d, sequence %d, salt %s\n%s", h.PageSize, h.Sequence, h.Salt, &frames))
}
