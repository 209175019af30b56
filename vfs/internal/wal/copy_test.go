package wal

import (
	"bytes"
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"github.com/ncruces/go-sqlite3/vfs"

	"github.com/walvfs/walvfs/format"
)

// numbered is a database file whose pages hold their numbers.
type numbered struct{ pageSize int }

func (n numbered) ReadAt(p []byte, off int64) (int, error) {
	clear(p)
	for i := 0; i < len(p); i += n.pageSize {
		binary.BigEndian.PutUint32(p[i:], uint32(off/int64(n.pageSize))+1)
		off += int64(n.pageSize)
	}
	return len(p), nil
}

func (numbered) Sync(vfs.SyncFlag) error { return nil }

// A copy has each page that it took, however long the runs are, and takes some pages even
// without time. Its file has no name, where the system allows that.
func TestCopy(t *testing.T) {
	for _, size := range []uint32{512, 4096, 65536} {
		dir := t.TempDir()
		c, err := NewCopy(dir, size, 1)
		if err != nil {
			t.Fatal(err)
		}
		if names, err := filepath.Glob(filepath.Join(dir, "*")); err != nil || len(names) > 0 && runtime.GOOS == "linux" {
			t.Errorf("the copy has a name: %v, %v", names, err)
		}
		s := &Snapshot{At: format.WALIndex{PageSize: size}, Main: numbered{int(size)}}
		pages := []uint32{3, 5, 6, 7}
		for i := range 3 * copyBuffer / size {
			pages = append(pages, 20+i)
		}
		pages = append(pages, 100_000)
		first, err := c.Take(s, pages, time.Time{})
		if err != nil || first != 1 {
			t.Errorf("without time, it took %d pages: %v", first, err)
		}
		if n, err := c.Take(s, pages[first:], time.Now().Add(time.Hour)); err != nil || n != len(pages)-first {
			t.Errorf("it took %d pages: %v", n, err)
		}
		p, want := make([]byte, size), make([]byte, size)
		for _, page := range pages {
			binary.BigEndian.PutUint32(want, page)
			if err := c.ReadPages(page, p); err != nil || !bytes.Equal(p, want) {
				t.Fatalf("page %d: %x, %v", page, p[:4], err)
			}
		}
		if err := c.Close(); err != nil {
			t.Error(err)
		}
		if left, _ := os.ReadDir(dir); len(left) > 0 {
			t.Errorf("there remains %v", left)
		}
	}
}

// The application's commits need room, too.
func TestCopyWithoutRoom(t *testing.T) {
	if _, err := NewCopy(t.TempDir(), 4096, 1<<60); runtime.GOOS == "linux" && !errors.Is(err, ErrNoRoom) {
		t.Error("a copy of an EiB is begun")
	}
}
