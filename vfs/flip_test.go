package vfs_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/walvfs/walvfs/format"
	"github.com/walvfs/walvfs/shipper/replica"
	"github.com/walvfs/walvfs/shipper/restore"
	"github.com/walvfs/walvfs/shipper/storage"
)

// A flippedStore returns one object with one bit flipped.
type flippedStore struct {
	alias
	key string
	off int64
	bit byte
}

func (s flippedStore) Open(ctx context.Context, key string, offset, length int64) (io.ReadCloser, storage.Attrs, error) {
	r, attrs, err := s.alias.Open(ctx, key, offset, length)
	if err != nil || key != s.key {
		return r, attrs, err
	}
	b, err := io.ReadAll(r)
	if at := s.off - offset; at >= 0 && at < int64(len(b)) {
		b = bytes.Clone(b)
		b[at] ^= s.bit
	}
	return io.NopCloser(bytes.NewReader(b)), attrs, err
}

// TestFlip flips one bit in every byte of a replica, one at a time: a restore names the
// corrupt object and leaves no file, or it restores the very same database.
func TestFlip(t *testing.T) {
	store := newReplica(t)
	path := filepath.Join(t.TempDir(), "app.db")
	conn := open(t, uri(path, store))
	exec(t, conn, "PRAGMA page_size=512", "CREATE TABLE t (x)", "INSERT INTO t VALUES (zeroblob(2000))")
	settled(t, path)
	exec(t, conn, "INSERT INTO t VALUES ('two')")
	settled(t, path)
	exec(t, conn, "UPDATE t SET x = 'three' WHERE rowid = 1")
	settled(t, path)
	conn.Close()
	want := save(t, path)[""]

	files, err := replica.All(t.Context(), store)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	harmless, bytesFlipped := 0, int64(0)
	for _, f := range files {
		key := store.Layout().Key(f.Level, f.MinTXID, f.MaxTXID)
		bytesFlipped += f.Size
		for off := range f.Size {
			target := filepath.Join(dir, "restored.db")
			flipped := flippedStore{newAliasOf(store), key, off, 1 << (off % 8)}
			_, err := restore.Restore(t.Context(), flipped, target, restore.Options{})
			switch {
			case err == nil:
				got, rerr := os.ReadFile(target)
				if rerr != nil || !bytes.Equal(got, want) {
					t.Errorf("%s, byte %d of %d: another database was restored (%v)", key, off, f.Size, rerr)
				}
				harmless++
				if off < format.LTXHeaderSize || off >= f.Size-format.LTXTrailerSize {
					t.Errorf("%s, byte %d of %d makes no difference", key, off, f.Size)
				}
				os.Remove(target)
				os.Remove(target + "-walvfs")
			case !strings.Contains(err.Error(), key):
				t.Errorf("%s, byte %d of %d: the error does not name the object: %v", key, off, f.Size, err)
			case !errors.Is(err, format.ErrCorrupt):
				t.Errorf("%s, byte %d of %d: not called corrupt: %v", key, off, f.Size, err)
			}
			if left, _ := os.ReadDir(dir); len(left) != 0 {
				t.Fatalf("%s, byte %d of %d: %v is left", key, off, f.Size, left)
			}
		}
	}
	// A file's checksum covers the content of pages, not its compressed form: different
	// offsets into one run of equal bytes decompress to the same page.
	t.Logf("%d files, %d of %d bytes make no difference", len(files), harmless, bytesFlipped)
}

// newAliasOf returns a store under another name that no test opens by its URL.
func newAliasOf(store storage.Store) alias { return alias{Store: store, URL: store.String()} }
