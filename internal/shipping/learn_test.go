package shipping

import (
	"bytes"
	"context"
	"testing"
	"time"

	"github.com/RoaringBitmap/roaring/v2"

	"github.com/walvfs/walvfs/format"
	"github.com/walvfs/walvfs/shipper/storage"
	"github.com/walvfs/walvfs/shipper/storage/storagetest"
)

// uploadFile puts a file with every so many pages into a store, without its last cut
// bytes.
func uploadFile(t *testing.T, store storage.Store, f format.FileInfo, every uint32, cut int) format.FileInfo {
	t.Helper()
	const pages = 90_000
	var b bytes.Buffer
	enc, err := format.NewEncoder(&b, format.LTXHeader{PageSize: 512, Commit: pages, MinTXID: f.MinTXID, MaxTXID: f.MaxTXID, Timestamp: 1})
	if err != nil {
		t.Fatal(err)
	}
	for pgno := every; pgno <= pages; pgno += every {
		if err := enc.Page(pgno, make([]byte, 512)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := enc.Close(); err != nil {
		t.Fatal(err)
	}
	body := bytes.NewReader(b.Bytes()[:b.Len()-cut])
	f.Size = body.Size()
	key := store.Layout().Key(f.Level, f.MinTXID, f.MaxTXID)
	if err := store.Create(t.Context(), key, body, storage.Attrs{Time: time.Now()}); err != nil {
		t.Fatal(err)
	}
	return f
}

// If a level's lack cannot be learned, the level starts over after a snapshot that is due
// at once; otherwise, the level's file is due at its usual time.
func TestLearn(t *testing.T) {
	for _, test := range []struct {
		name   string
		damage func(store storage.Store)
		max    format.TXID
		known  bool
	}{
		{"whole", func(storage.Store) {}, 2, true},
		{"gap", func(store storage.Store) { store.Delete(context.Background(), store.Layout().Key(0, 4, 4)) }, 5, false},
		{"damaged, and in another level", func(store storage.Store) {
			uploadFile(t, store, format.FileInfo{MinTXID: 4, MaxTXID: 5}, 100, 5) // this file leads farther
		}, 2, true},
		{"damaged", func(store storage.Store) {
			store.Delete(context.Background(), store.Layout().Key(0, 4, 4))
			uploadFile(t, store, format.FileInfo{MinTXID: 4, MaxTXID: 4}, 100, 5)
		}, 5, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			store := &storagetest.Memory{Name: "learn"}
			uploadFile(t, store, format.FileInfo{MinTXID: 1, MaxTXID: 1}, 1, 0)
			uploadFile(t, store, format.FileInfo{Level: 1, MinTXID: 2, MaxTXID: 2}, 50, 0)
			uploadFile(t, store, format.FileInfo{MinTXID: 3, MaxTXID: 3}, 300, 0)
			uploadFile(t, store, format.FileInfo{MinTXID: 4, MaxTXID: 4}, 100, 0)
			uploadFile(t, store, format.FileInfo{MinTXID: 5, MaxTXID: 5}, 3000, 0)
			test.damage(store)
			s := New(nil, store, Options{Policy: DefaultPolicy()})
			s.queue.stop() // the test only checks the findings
			s.levels.begin(5, time.Now())
			if err := s.learn(t.Context()); err != nil {
				t.Fatal(err)
			}
			v, snapshot := s.levels.list[0], s.levels.list[3]
			if want := uint64(900); test.known && v.pages.GetCardinality() != want || !test.known && !v.pages.IsEmpty() || v.max != test.max {
				t.Errorf("level 1 lacks %d pages after TXID %s", v.pages.GetCardinality(), v.max)
			}
			if due := time.Until(snapshot.due()); test.known != (due > time.Hour) {
				t.Errorf("a snapshot is due in %s", due)
			}
		})
	}
}

// A level's file has neither the lock page nor pages beyond the end, and a database with
// every page except the lock page is whole.
func TestLevelPages(t *testing.T) {
	const pageSize = 65536
	lock := format.LockPage(pageSize)
	info := CutInfo{PageSize: pageSize, Commit: lock + 10, Pages: roaring.BitmapOf(3)}
	l := New(nil, &storagetest.Memory{Name: "pages"}, Options{Policy: DefaultPolicy()}).levels
	first, snapshot := l.list[0], l.list[3]
	first.pages.AddMany([]uint32{1, 2, lock, lock + 10, lock + 11})
	if got := l.take(first, 7, time.Now()).pages(info); !got.Equals(roaring.BitmapOf(1, 2, 3, lock+10)) {
		t.Errorf("level 1: %s", got)
	}
	all := roaring.New()
	all.AddRange(1, uint64(lock)+11)
	all.Remove(lock)
	if got := l.take(snapshot, 7, time.Now()).pages(info); !got.Equals(all) {
		t.Errorf("snapshot: %d pages, %t", got.GetCardinality(), got.Contains(lock))
	}
	info.Pages = all
	if !isLarge(info) {
		t.Error("not whole without the lock page")
	}
	info.Pages.Remove(5)
	if isLarge(info) {
		t.Error("whole without page 5")
	}
}
