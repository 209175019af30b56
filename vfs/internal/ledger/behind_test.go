package ledger

import (
	"bytes"
	"encoding/binary"
	"os"
	"path/filepath"
	"testing"
)

// The numbers of Behind are never negative, and never zero while pages are dirty, whatever
// the WAL index shows and has shown before.
func TestBehind(t *testing.T) {
	file := filepath.Join(t.TempDir(), "app.db")
	header := make([]byte, 5*1024)
	copy(header, "SQLite format 3\x00")
	binary.BigEndian.PutUint16(header[16:], 1024)
	if err := os.WriteFile(file, header, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name                  string
		index                 *bytes.Reader // nil if it is not open
		shipped, scanned      uint32
		dirty                 []uint32
		all                   bool
		commits, pages, bytes int64
	}{
		{"nothing", indexOf(saltA, 10, 20, 7, 512), 7, 10, nil, false, 0, 0, 0},
		{"commits in the WAL", indexOf(saltA, 13, 20, 9, 512), 7, 10, nil, false, 2, 3, 3 * 512},
		{"before the first cut", indexOf(saltA, 13, 20, 2, 4096), 0, 0, nil, true, 2, 20, 20 * 4096},
		{"dirty pages of an earlier WAL", indexOf(saltA, 0, 20, 8, 512), 7, 0, []uint32{3, 4}, false, 1, 2, 2 * 512},
		{"no more than all", indexOf(saltA, 99, 20, 9, 512), 7, 0, nil, false, 2, 20, 20 * 512},
		{"recovered, all shipped", indexOf(saltA, 10, 20, 0, 512), 7, 10, nil, false, 0, 0, 0},
		{"recovered, pages dirty", indexOf(saltA, 10, 20, 0, 512), 7, 9, nil, false, 1, 1, 512},
		{"recovered, and commits since", indexOf(saltA, 13, 20, 3, 512), 7, 10, nil, false, 3, 3, 3 * 512},
		{"the counter wraps around", indexOf(saltA, 12, 20, 1, 512), 1<<32 - 1, 10, nil, false, 2, 2, 2 * 512},
		{"nothing was ever in the WAL", indexOf(saltA, 0, 0, 0, 0), 0, 0, nil, true, 0, 5, 5 * 1024},
		{"not in WAL mode", nil, 0, 0, nil, true, 0, 5, 5 * 1024},
	} {
		l := clean(saltA, test.scanned)
		l.path, l.shipped, l.floor = file, test.shipped, 20
		if test.index != nil {
			l.index = test.index
		}
		if test.all {
			l.floor = 0
		}
		l.dirty.AddMany(test.dirty)
		if commits, pages, size := l.Behind(); commits != test.commits || pages != test.pages || size != test.bytes {
			t.Errorf("%s: %d commits, %d pages, %d bytes; want %d, %d, %d", test.name, commits, pages, size, test.commits, test.pages, test.bytes)
		}
	}
}
