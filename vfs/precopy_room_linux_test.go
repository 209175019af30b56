package vfs

import (
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/walvfs/walvfs/internal/shipping"
)

// unnamed returns the size in bytes of a directory's open files without a name.
func unnamed(t *testing.T, dir string) (bytes int64) {
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		name, err := os.Readlink("/proc/self/fd/" + e.Name())
		if err != nil || !strings.HasPrefix(name, dir) || !strings.HasSuffix(name, "(deleted)") {
			continue
		}
		var s unix.Stat_t
		if err := unix.Stat("/proc/self/fd/"+e.Name(), &s); err == nil {
			bytes += s.Blocks * 512
		}
	}
	return bytes
}

// A cut does not copy extra pages for which the disk had no room together with the
// changed pages.
func TestNoRoomForExtraPages(t *testing.T) {
	defer SetLargeCut(64 << 10)()
	c := newCopied(t, 3, false)
	if err := c.conns[0].Exec("UPDATE t SET x = randomblob(900) WHERE id <= 150"); err != nil {
		t.Fatal(err)
	}
	k, err := c.db.cutCopied(t.Context(), &shipping.Extra{}) // every page, without a copy
	if err != nil {
		t.Fatal(err)
	}
	changed, whole := int64(k.info.Pages.GetCardinality())*int64(k.info.PageSize), int64(k.info.Commit)*int64(k.info.PageSize)
	if took := unnamed(t, c.dir()); took > changed+64<<10 {
		t.Errorf("%d bytes were copied under the mark, of a database of %d in which %d changed", took, whole, changed)
	}
	k.Abandon()
	if err := k.Close(); err != nil {
		t.Error(err)
	}
}

func (c *copied) dir() string { return c.db.path[:strings.LastIndex(c.db.path, "/")] }
