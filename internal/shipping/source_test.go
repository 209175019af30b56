package shipping_test

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	mathrand "math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/RoaringBitmap/roaring/v2"

	"github.com/walvfs/walvfs/format"
	"github.com/walvfs/walvfs/internal/shipping"
	"github.com/walvfs/walvfs/shipper"
	"github.com/walvfs/walvfs/shipper/replica"
	"github.com/walvfs/walvfs/shipper/storage"
)

const pageSize = 512

// A fakeDB is a database of numbered pages. A page holds the number of the last commit
// that wrote it.
type fakeDB struct {
	mu       sync.Mutex
	commits  uint64
	pages    []uint64 // by page number - 1
	dirty    *roaring.Bitmap
	wal      shipping.Commit // end of the WAL
	cutWAL   shipping.Commit // end of the WAL at the last cut
	cuts     int
	settled  int // cuts acknowledged or abandoned
	intended []shipper.Position
	acked    []shipper.Position
	made     []shipper.Position         // intended positions, in order, the last one for each TXID
	states   map[format.TXID][][]uint64 // contents of the cuts for a TXID

	noise      bool         // pages do not compress
	whole      atomic.Bool  // each cut has every page, since the changes are unknown
	slow       atomic.Int64 // nanoseconds to read a page
	slowCut    atomic.Int64 // nanoseconds from a cut's boundary to its beginning
	readFaults atomic.Int64 // reading one of so many pages fails, 0 for none
	last       format.TXID
	recognize  func(*replica.Tip) error
	cutErr     func() error
	precopy    func(pages func() *roaring.Bitmap) (shipping.Precopied, error)
	syncErr    func() error
	closeErr   func() error // of a cut
}

func newDB(pages int) *fakeDB {
	db := &fakeDB{pages: make([]uint64, pages), dirty: roaring.New(), wal: shipping.Commit{Salt: format.Salt{1}, End: format.WALHeaderSize}}
	db.dirty.AddRange(1, uint64(pages)+1)
	return db
}

// commit writes pages.
func (db *fakeDB) commit(pages ...uint32) { db.commitAt(pages...) }

// commitAt is commit, and returns the commit's number and its place.
func (db *fakeDB) commitAt(pages ...uint32) (uint64, shipping.Commit) {
	db.mu.Lock()
	defer db.mu.Unlock()
	db.commits++
	for _, p := range pages {
		db.pages[p-1] = db.commits
		db.dirty.Add(p)
	}
	db.wal.End += int64(len(pages)) * (format.FrameHeaderSize + pageSize)
	return db.commits, db.wal
}

// resetWAL makes the WAL start over.
func (db *fakeDB) resetWAL() {
	db.mu.Lock()
	defer db.mu.Unlock()
	db.wal = shipping.Commit{Salt: format.Salt{db.wal.Salt[0] + 1}, End: format.WALHeaderSize}
}

// resize changes the number of pages.
func (db *fakeDB) resize(n int) {
	db.mu.Lock()
	defer db.mu.Unlock()
	db.commits++
	for len(db.pages) < n {
		db.pages = append(db.pages, db.commits)
		db.dirty.Add(uint32(len(db.pages)))
	}
	db.pages = db.pages[:n]
	db.pages[0] = db.commits
	db.dirty.Add(1)
	db.wal.End += format.FrameHeaderSize + pageSize
}

func (db *fakeDB) size() int {
	db.mu.Lock()
	defer db.mu.Unlock()
	return len(db.pages)
}

// timeOf returns the time of a TXID.
func (db *fakeDB) timeOf(txid format.TXID) time.Time {
	return db.made[txid-1].Time
}

func (db *fakeDB) Behind() (commits, pages, bytes int64) { return 0, 0, 0 }

func (db *fakeDB) Rest() {}

func (db *fakeDB) Last() format.TXID { return db.last }

func (db *fakeDB) Recognize(_ context.Context, tip *replica.Tip) error {
	if db.recognize != nil {
		return db.recognize(tip)
	}
	return nil
}

func (db *fakeDB) intents() int {
	db.mu.Lock()
	defer db.mu.Unlock()
	return len(db.intended)
}

func (db *fakeDB) Intended(pos shipper.Position) bool {
	db.mu.Lock()
	defer db.mu.Unlock()
	return slices.ContainsFunc(db.intended, func(p shipper.Position) bool {
		return p.TXID == pos.TXID && p.Checksum == pos.Checksum
	})
}

func (db *fakeDB) Precopy(pages func() *roaring.Bitmap) (shipping.Precopied, error) {
	if db.precopy == nil {
		return nil, nil
	}
	return db.precopy(pages)
}

func (db *fakeDB) Cut(_ context.Context, extra *shipping.Extra) (shipping.Cut, error) {
	if extra != nil && extra.Copied != nil {
		extra.Copied.Close()
	}
	if db.cutErr != nil {
		if err := db.cutErr(); err != nil {
			return nil, err
		}
	}
	defer func() { time.Sleep(time.Duration(db.slowCut.Load())) }()
	db.mu.Lock()
	defer db.mu.Unlock()
	if db.dirty.IsEmpty() && extra == nil {
		return nil, nil
	}
	db.cuts++
	if db.whole.Load() {
		db.dirty.AddRange(1, uint64(len(db.pages))+1)
	}
	k := &fakeCut{db: db, pages: db.dirty, content: append([]uint64(nil), db.pages...), from: db.cutWAL, to: db.wal}
	db.cutWAL = db.wal
	k.pages.RemoveRange(uint64(len(db.pages))+1, 1<<32)
	db.dirty = roaring.New()
	return k, nil
}

type fakeCut struct {
	db      *fakeDB
	pages   *roaring.Bitmap
	content []uint64

	from, to shipping.Commit
	synced   atomic.Bool // the pages read are on the disk
	closed   atomic.Bool

	abandoned atomic.Bool
}

func (k *fakeCut) Info() shipping.CutInfo {
	info := shipping.CutInfo{PageSize: pageSize, Commit: uint32(len(k.content)), Pages: k.pages, Same: k.pages.IsEmpty(), Whole: k.db.whole.Load(), WALOffset: format.WALHeaderSize}
	if k.to.End > format.WALHeaderSize {
		info.Salt = k.to.Salt
		if k.from.Salt == k.to.Salt && k.from.End < k.to.End {
			info.WALOffset = k.from.End
		}
		info.WALSize = k.to.End - info.WALOffset
	}
	return info
}

func (k *fakeCut) ReadPages(first uint32, p []byte) error {
	for ; len(p) > 0; p = p[pageSize:] {
		if err := k.readPage(first, p[:pageSize]); err != nil {
			return err
		}
		first++
	}
	return nil
}

func (k *fakeCut) readPage(pgno uint32, p []byte) error {
	if k.closed.Load() {
		return errors.New("a cut is read after it was closed")
	}
	time.Sleep(time.Duration(k.db.slow.Load()))
	if n := k.db.readFaults.Load(); n > 0 && mathrand.Int64N(n) == 0 {
		return errStore
	}
	clear(p)
	if k.db.noise {
		rand.Read(p)
	}
	binary.BigEndian.PutUint64(p, k.content[pgno-1])
	return nil
}

func (k *fakeCut) Sync() func() error { return k.sync }

func (k *fakeCut) sync() error {
	if k.db.syncErr != nil {
		if err := k.db.syncErr(); err != nil {
			return err
		}
	}
	if k.abandoned.Load() {
		panic("a cut is abandoned while it is synced")
	}
	k.synced.Store(true)
	return nil
}

func (k *fakeCut) Close() error {
	if k.closed.Swap(true) {
		return errors.New("a cut is closed twice")
	}
	if k.db.closeErr != nil {
		return k.db.closeErr()
	}
	return nil
}

func (k *fakeCut) Intend(pos shipper.Position) error {
	k.db.mu.Lock()
	defer k.db.mu.Unlock()
	k.db.intended = append(k.db.intended, pos)
	k.db.made = append(k.db.made[:min(len(k.db.made), int(pos.TXID)-1)], pos)
	if k.db.states == nil {
		k.db.states = map[format.TXID][][]uint64{}
	}
	k.db.states[pos.TXID] = append(k.db.states[pos.TXID], k.content)
	return nil
}

func (k *fakeCut) Acknowledge(pos shipper.Position) {
	k.db.mu.Lock()
	defer k.db.mu.Unlock()
	k.db.settled++
	k.db.acked = append(k.db.acked, pos)
}

func (k *fakeCut) Abandon() {
	k.abandoned.Store(true)
	k.db.mu.Lock()
	defer k.db.mu.Unlock()
	k.db.settled++
	k.db.dirty.Or(k.pages)
}

// requireSame applies every level 0 file in order and fails unless the result equals the
// database.
func requireSame(t *testing.T, store storage.Store, db *fakeDB) {
	t.Helper()
	got := make([]uint64, len(db.pages))
	next := format.TXID(1)
	for obj, err := range store.List(context.Background(), store.Layout().Dir(0), "") {
		if err != nil {
			t.Fatal(err)
		}
		f, ok := store.Layout().Parse(obj.Key)
		if !ok || f.MinTXID != next || f.MaxTXID != next {
			t.Fatalf("found %s, want TXID %s", obj.Key, next)
		}
		next++
		r, _, err := store.Open(context.Background(), obj.Key, 0, -1)
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := format.Decode(r, func(_ format.LTXHeader, pgno uint32, page []byte) error {
			got[pgno-1] = binary.BigEndian.Uint64(page)
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		r.Close()
	}
	db.mu.Lock()
	defer db.mu.Unlock()
	for i := range got {
		if got[i] != db.pages[i] {
			t.Errorf("page %d is from commit %d, the database's from %d", i+1, got[i], db.pages[i])
		}
	}
	if db.cuts != db.settled {
		t.Errorf("%d cuts, %d of them settled", db.cuts, db.settled)
	}
}
