package follow_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/walvfs/walvfs/format"
	"github.com/walvfs/walvfs/shipper/restore"
	"github.com/walvfs/walvfs/shipper/restore/follow"
	"github.com/walvfs/walvfs/shipper/storage"
)

// compact adds a file of a higher level that holds every page.
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
	f := runFollow(t, store, path, follow.Options{})
	f.At(2)
	f.Stop()
	l.commit(manyRows(200), "DELETE FROM t WHERE rowid % 2", manyRows(3), "UPDATE t SET x = randomblob(10) WHERE rowid < 9")
	return l, store, path
}

func raw(f format.FileInfo) bool { return f.Level == 0 }

// After retention has removed level 0 files, the follower uses a compacted file.
func TestFollowCompacted(t *testing.T) {
	_, store, path := copyAt2(t)
	compact(t, store.Store, 1, 2, 5)
	compact(t, store.Store, 9, 1, 6) // the follower must not download it
	store.setHide(func(f format.FileInfo) bool { return raw(f) && f.MaxTXID <= 5 })
	f := runFollow(t, store, path, follow.Options{})
	if r := f.At(6); r.Files != 2 {
		t.Errorf("it went on with %d files", r.Files)
	}
	f.Stop()
	requireCopy(t, store.Store, path, 6)
}

// If only a newer snapshot leads on, the follower uses it, and then the next file.
func TestFollowSnapshot(t *testing.T) {
	l, store, path := copyAt2(t)
	compact(t, store.Store, 9, 1, 6)
	store.setHide(func(f format.FileInfo) bool { return f.MaxTXID < 6 })
	f := runFollow(t, store, path, follow.Options{})
	if r := f.At(6); r.Files != 1 {
		t.Errorf("it went on with %d files", r.Files)
	}
	l.commit("DELETE FROM t")
	f.At(7)
	f.Stop()
	requireCopy(t, store.Store, path, 7)
}

// The follower copes with a file that is removed between the listing and its download.
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
	f := runFollow(t, store, path, follow.Options{})
	f.At(6)
	f.Stop()
	if opens == 0 {
		t.Error("nothing went away")
	}
	for _, r := range f.Seen {
		if r.Err != nil {
			t.Error(r.Err)
		}
	}
	requireCopy(t, store.Store, path, 6)
}

// The follower reports a gap that no file bridges, and leaves the copy unchanged until a
// file does.
func TestFollowGap(t *testing.T) {
	_, store, path := copyAt2(t)
	store.setHide(func(f format.FileInfo) bool { return raw(f) && f.MaxTXID == 4 })
	f := runFollow(t, store, path, follow.Options{})
	r := f.Until("the gap", func(r follow.Status) bool { return r.Err != nil })
	if r.TXID != 3 || r.Tip != 6 {
		t.Errorf("%+v", r)
	}
	requireCopy(t, store.Store, path, 3)
	compact(t, store.Store, 9, 1, 5)
	f.At(6)
	f.Stop()
	requireCopy(t, store.Store, path, 6)
}

// If the replica was deleted and filled again, its TXIDs mean something else.
func TestFollowOtherHistory(t *testing.T) {
	for name, longer := range map[string]bool{"longer": true, "shorter": false} {
		t.Run(name, func(t *testing.T) {
			l, store, path := copyAt2(t)
			f := runFollow(t, store, path, follow.Options{})
			f.At(6)
			f.Stop()
			if longer {
				f = runFollow(t, store, path, follow.Options{})
				f.At(6)
			}
			l.conn.Close()
			store.setHide(func(format.FileInfo) bool { return true }) // while it is neither replica
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
				f = runFollow(t, store, path, follow.Options{})
			}
			f.At(tip(t, store))
			f.Stop()
			requireCopy(t, store, path, tip(t, store))
		})
	}
}

// The follower does not apply a damaged file, but applies the files before it. A file of
// another level or a snapshot that holds its TXID leads past it, also when the copy is
// first made.
func TestFollowDamaged(t *testing.T) {
	for name, other := range map[string]format.FileInfo{
		"snapshot": {Level: 9, MinTXID: 1, MaxTXID: 6},
		"level 1":  {Level: 1, MinTXID: 4, MaxTXID: 6},
	} {
		t.Run(name, func(t *testing.T) {
			l, store, path := copyAt2(t)
			compact(t, store.Store, other.Level, other.MinTXID, other.MaxTXID)
			store.setHide(func(f format.FileInfo) bool { return f.Level == other.Level && f.MaxTXID == other.MaxTXID })
			l.damage(store, 5)
			f := runFollow(t, store, path, follow.Options{})
			r := f.Until("the damage", func(r follow.Status) bool { return r.Err != nil })
			if r.TXID != 4 || !strings.Contains(r.Err.Error(), store.Layout().Key(0, 5, 5)) || !errors.Is(r.Err, format.ErrCorrupt) {
				t.Errorf("%+v", r)
			}
			requireCopy(t, store.Store, path, 4)
			store.setHide(nil)
			f.At(6)
			f.Stop()
			requireCopy(t, store.Store, path, 6)

			second := filepath.Join(t.TempDir(), "second.db")
			f = runFollow(t, store, second, follow.Options{})
			f.At(6)
			f.Stop()
			requireCopy(t, store.Store, second, 6)
		})
	}
}

// damage changes a byte pair in the level 0 file of a TXID.
func (l *live) damage(store storage.Store, txid format.TXID) {
	l.t.Helper()
	name := filepath.Join(filepath.Dir(l.path), "replica", filepath.FromSlash(store.Layout().Key(0, txid, txid)))
	b, err := os.ReadFile(name)
	if err != nil {
		l.t.Fatal(err)
	}
	at := len(b) / 2
	binary.BigEndian.PutUint16(b[at:], ^binary.BigEndian.Uint16(b[at:]))
	if err := os.WriteFile(name, b, 0o600); err != nil {
		l.t.Fatal(err)
	}
}

// A replica that is replaced between two polls, and continues from the copy's TXID, is
// noticed.
func TestFollowSwapped(t *testing.T) {
	_, store, path := copyAt2(t)
	f := runFollow(t, store, path, follow.Options{})
	f.At(6)
	other := newLive(t, 4096)
	other.commit(schema)
	for range 7 {
		other.commit(manyRows(2))
	}
	theirs := other.store()
	store.swap(theirs.Store)
	f.At(8)
	f.Stop()
	requireCopy(t, theirs, path, 8)
}

// Files of another history may have the same names and sizes.
func TestFollowOtherChecksum(t *testing.T) {
	l, store, path := copyAt2(t)
	l.otherChecksums(store)
	f := runFollow(t, store, path, follow.Options{})
	if r := f.At(6); r.Files != 6 {
		t.Errorf("it went on with %d files", r.Files)
	}
	f.Stop()
	requireCopy(t, store, path, 6)
}

// A copy that is made again remembers the replica's current files, and not the files with
// the same names and sizes that the earlier copy came from.
func TestFollowForcedOtherChecksum(t *testing.T) {
	l, store, path := copyAt2(t)
	l.otherChecksums(store)
	store.setHide(func(f format.FileInfo) bool { return f.MaxTXID > 2 })
	if err := os.Truncate(path, 0); err != nil {
		t.Fatal(err)
	}
	f := runFollow(t, store, path, forced)
	f.At(2)
	store.setHide(nil)
	f.At(6)
	f.Stop()
	files := 0
	for _, r := range f.Seen {
		files += r.Files
	}
	if files != 6 { // 2 make the copy, 4 continue it
		t.Errorf("it downloaded %d files", files)
	}
	requireCopy(t, store, path, 6)
}

// An unreadable snapshot does not replace the snapshot that proves that the copy comes
// from this replica.
func TestFollowUnreadableSnapshot(t *testing.T) {
	_, store, path := copyAt2(t)
	compact(t, store.Store, 9, 1, 2)
	store.mu.Lock()
	store.hide = func(f format.FileInfo) bool { return f.MaxTXID > 2 }
	store.gone = func(f format.FileInfo) bool { return f.Level == 9 && f.MaxTXID == 2 }
	store.mu.Unlock()
	f := runFollow(t, store, path, follow.Options{})
	f.Until("the error", func(r follow.Status) bool { return r.Err != nil })
	store.setHide(func(f format.FileInfo) bool { return raw(f) && f.MaxTXID == 2 })
	if r := f.At(6); r.Files != 4 {
		t.Errorf("it continued with %d files", r.Files)
	}
	f.Stop()
	requireCopy(t, store.Store, path, 6)
}

// otherChecksums changes the files up to TXID 2, but not their names and sizes.
func (l *live) otherChecksums(store storage.Store) {
	l.t.Helper()
	for _, key := range []string{store.Layout().Key(0, 2, 2), store.Layout().Key(9, 1, 1)} {
		name := filepath.Join(filepath.Dir(l.path), "replica", filepath.FromSlash(key))
		b, err := os.ReadFile(name)
		if err != nil {
			l.t.Fatal(err)
		}
		later := laterBy1ms(l.t, b)
		if len(later) != len(b) {
			l.t.Fatalf("%d bytes became %d", len(b), len(later))
		}
		if err := os.WriteFile(name, later, 0o600); err != nil {
			l.t.Fatal(err)
		}
	}
}

// laterBy1ms returns an LTX file with another time, and thus another checksum.
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
