package restore_test

import (
	"bytes"
	"encoding/binary"
	"os"
	"path/filepath"
	"testing"

	"github.com/walvfs/walvfs/format"
	"github.com/walvfs/walvfs/shipper/restore"
	"github.com/walvfs/walvfs/shipper/storage"
)

// compact adds a file of a higher level, which holds every page.
func compact(t *testing.T, store storage.Store, level int, lo, hi format.TXID) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "image.db")
	r, err := restore.Restore(t.Context(), store, path, restore.Options{TXID: hi})
	if err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	enc, err := format.NewEncoder(&out, format.LTXHeader{PageSize: r.PageSize, Commit: r.Pages, MinTXID: lo, MaxTXID: hi, Timestamp: r.Time.UnixMilli()})
	for n := uint32(1); n <= r.Pages && err == nil; n++ {
		err = enc.Page(n, b[(n-1)*r.PageSize:n*r.PageSize])
	}
	if err == nil {
		_, err = enc.Close()
	}
	if err == nil {
		err = store.Create(t.Context(), store.Layout().Key(level, lo, hi), bytes.NewReader(out.Bytes()), storage.Attrs{Time: r.Time})
	}
	if err != nil {
		t.Fatal(err)
	}
}

// copyAt2 makes a copy at TXID 2 of a replica with a snapshot 1-1 and level 0 up to 6.
func copyAt2(t *testing.T) (l *live, store *hidingStore, path string) {
	l = newLive(t, 4096)
	l.commit(schema, manyRows(3))
	store = l.store()
	compact(t, store, 9, 1, 1)
	path = filepath.Join(t.TempDir(), "copy.db")
	f := follow(t, store, path, restore.FollowOptions{})
	f.at(2)
	f.stop()
	l.commit(manyRows(200), "DELETE FROM t WHERE rowid % 2", manyRows(3), "UPDATE t SET x = randomblob(10) WHERE rowid < 9")
	return l, store, path
}

func raw(f format.FileInfo) bool { return f.Level == 0 }

// Retention removed level 0 files, and a compacted one leads on.
func TestFollowCompacted(t *testing.T) {
	_, store, path := copyAt2(t)
	compact(t, store.Store, 1, 2, 5)
	compact(t, store.Store, 9, 1, 6) // which is not to be downloaded
	store.setHide(func(f format.FileInfo) bool { return raw(f) && f.MaxTXID <= 5 })
	f := follow(t, store, path, restore.FollowOptions{})
	if r := f.at(6); r.Files != 2 {
		t.Errorf("it went on with %d files", r.Files)
	}
	f.stop()
	requireCopy(t, store.Store, path, 6)
}

// Only a newer snapshot leads on, and from there the next file does.
func TestFollowSnapshot(t *testing.T) {
	l, store, path := copyAt2(t)
	compact(t, store.Store, 9, 1, 6)
	store.setHide(func(f format.FileInfo) bool { return f.MaxTXID < 6 })
	f := follow(t, store, path, restore.FollowOptions{})
	if r := f.at(6); r.Files != 1 {
		t.Errorf("it went on with %d files", r.Files)
	}
	l.commit("DELETE FROM t")
	f.at(7)
	f.stop()
	requireCopy(t, store.Store, path, 7)
}

// A file goes away between the listing and its download.
func TestFollowRemovedMeanwhile(t *testing.T) {
	_, store, path := copyAt2(t)
	compact(t, store.Store, 1, 2, 5)
	opens := 0
	store.mu.Lock()
	store.gone = func(f format.FileInfo) bool {
		if f.MaxTXID == 5 && f.Level == 1 || f.MinTXID == 4 {
			opens++
			return opens == 1
		}
		return false
	}
	store.mu.Unlock()
	f := follow(t, store, path, restore.FollowOptions{})
	f.at(6)
	f.stop()
	if opens == 0 {
		t.Error("nothing went away")
	}
	for _, r := range f.seen {
		if r.Err != nil {
			t.Error(r.Err)
		}
	}
	requireCopy(t, store.Store, path, 6)
}

// A gap that nothing leads over is reported, and the copy stays as it is, until
// something does.
func TestFollowGap(t *testing.T) {
	_, store, path := copyAt2(t)
	store.setHide(func(f format.FileInfo) bool { return raw(f) && f.MaxTXID == 4 })
	f := follow(t, store, path, restore.FollowOptions{})
	r := f.until("the gap", func(r restore.Followed) bool { return r.Err != nil })
	if r.TXID != 3 || r.Tip != 6 {
		t.Errorf("%+v", r)
	}
	requireCopy(t, store.Store, path, 3)
	compact(t, store.Store, 9, 1, 5)
	f.at(6)
	f.stop()
	requireCopy(t, store.Store, path, 6)
}

// The replica was emptied and filled anew: its TXIDs mean something else.
func TestFollowOtherHistory(t *testing.T) {
	for name, longer := range map[string]bool{"longer": true, "shorter": false} {
		t.Run(name, func(t *testing.T) {
			l, store, path := copyAt2(t)
			f := follow(t, store, path, restore.FollowOptions{})
			f.at(6)
			f.stop()
			if longer {
				f = follow(t, store, path, restore.FollowOptions{})
				f.at(6)
			}
			l.conn.Close()
			store.setHide(func(format.FileInfo) bool { return true }) // while it is neither
			if err := os.RemoveAll(filepath.Join(filepath.Dir(l.path), "replica")); err != nil {
				t.Fatal(err)
			}
			other := newLive(t, 512)
			other.conn.Close()
			other.replica = l.replica
			other.open()
			other.commit(schema, manyRows(20))
			if longer {
				for range 7 {
					other.commit(manyRows(2))
				}
			}
			store.setHide(nil)
			if !longer {
				f = follow(t, store, path, restore.FollowOptions{})
			}
			f.at(tip(t, store))
			f.stop()
			requireCopy(t, store, path, tip(t, store))
		})
	}
}

// A damaged file is not applied. A snapshot that holds its TXID leads past it.
func TestFollowDamaged(t *testing.T) {
	l, store, path := copyAt2(t)
	compact(t, store.Store, 9, 1, 6)
	store.setHide(func(f format.FileInfo) bool { return f.Level == 9 && f.MaxTXID == 6 })
	name := filepath.Join(filepath.Dir(l.path), "replica", filepath.FromSlash(store.Layout().Key(0, 5, 5)))
	whole, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	damaged := bytes.Clone(whole)
	at := len(damaged) / 2
	binary.BigEndian.PutUint16(damaged[at:], ^binary.BigEndian.Uint16(damaged[at:]))
	if err := os.WriteFile(name, damaged, 0o600); err != nil {
		t.Fatal(err)
	}
	f := follow(t, store, path, restore.FollowOptions{})
	r := f.until("the damage", func(r restore.Followed) bool { return r.Err != nil })
	if r.TXID != 2 {
		t.Errorf("%+v", r)
	}
	requireCopy(t, store.Store, path, 2)
	store.setHide(nil)
	f.at(6)
	f.stop()
	requireCopy(t, store.Store, path, 6)
}

// Between two polls, the replica became another one, which goes on where the copy is.
func TestFollowSwapped(t *testing.T) {
	_, store, path := copyAt2(t)
	f := follow(t, store, path, restore.FollowOptions{})
	f.at(6)
	other := newLive(t, 4096)
	other.commit(schema)
	for range 7 {
		other.commit(manyRows(2))
	}
	theirs := other.store()
	store.swap(theirs.Store)
	f.at(8)
	f.stop()
	requireCopy(t, theirs, path, 8)
}

// Files of another history may have the names and the sizes of ours.
func TestFollowOtherChecksum(t *testing.T) {
	l, store, path := copyAt2(t)
	for _, key := range []string{store.Layout().Key(0, 2, 2), store.Layout().Key(9, 1, 1)} {
		name := filepath.Join(filepath.Dir(l.path), "replica", filepath.FromSlash(key))
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		later := laterBy1ms(t, b)
		if len(later) != len(b) {
			t.Fatalf("%d bytes became %d", len(b), len(later))
		}
		if err := os.WriteFile(name, later, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	f := follow(t, store, path, restore.FollowOptions{})
	if r := f.at(6); r.Files != 6 {
		t.Errorf("it went on with %d files", r.Files)
	}
	f.stop()
	requireCopy(t, store, path, 6)
}

// laterBy1ms is an LTX file with another time, and for that another checksum.
func laterBy1ms(t *testing.T, b []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	var enc *format.Encoder
	_, _, err := format.Decode(bytes.NewReader(b), func(h format.LTXHeader, number uint32, page []byte) (err error) {
		if enc == nil {
			h.Timestamp++
			if enc, err = format.NewEncoder(&out, h); err != nil {
				return err
			}
		}
		return enc.Page(number, page)
	})
	if err == nil {
		_, err = enc.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}
