package verify

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/walvfs/walvfs/format"
	"github.com/walvfs/walvfs/shipper/storage"
	"github.com/walvfs/walvfs/shipper/storage/storagetest"
)

const testPageSize = 512

// state is a database at a TXID, page by page.
type state [][]byte

// history is a random history of a database: the state at each TXID from 1, and the pages
// that each TXID has in level 0.
type history struct {
	states  []state
	changed []map[uint32]bool
	rnd     *rand.Rand

	pageSize int // testPageSize if 0; pages of twice the size are written twice
}

func newHistory(seed uint64, txids int) *history {
	h := &history{rnd: rand.New(rand.NewPCG(seed, 0))}
	h.states, h.changed = []state{nil}, []map[uint32]bool{nil}
	for range txids {
		h.commit()
	}
	return h
}

// commit changes some pages, and sometimes the size.
func (h *history) commit() {
	old := h.states[len(h.states)-1]
	size := max(1, len(old)+[]int{0, 0, 3, -2, 1, -9}[h.rnd.IntN(6)])
	now, changed := make(state, size), map[uint32]bool{}
	copy(now, old)
	for i := range now {
		if i >= len(old) || h.rnd.IntN(6) == 0 {
			now[i] = []byte(fmt.Sprintf("%*d", testPageSize, h.rnd.Uint64()))
			changed[uint32(i)+1] = true
		}
	}
	h.states, h.changed = append(h.states, now), append(h.changed, changed)
}

// file returns the correct pages of a level's file.
func (h *history) file(lo, hi format.TXID) map[uint32][]byte {
	now, pages := h.states[hi], map[uint32][]byte{}
	for txid := lo; txid <= hi; txid++ {
		for number := range h.changed[txid] {
			if int(number) <= len(now) {
				pages[number] = now[number-1]
			}
		}
	}
	return pages
}

// write puts a file into a store.
func (h *history) write(t *testing.T, store storage.Store, level int, lo, hi format.TXID, pages map[uint32][]byte) {
	t.Helper()
	var b bytes.Buffer
	commit := uint32(len(h.states[hi]))
	enc, err := format.NewEncoder(&b, format.LTXHeader{PageSize: uint32(max(h.pageSize, testPageSize)), Commit: commit, MinTXID: lo, MaxTXID: hi, Timestamp: int64(hi)})
	for number := uint32(1); number <= commit && err == nil; number++ {
		if page, ok := pages[number]; ok {
			err = enc.Page(number, bytes.Repeat(page, max(h.pageSize, testPageSize)/testPageSize))
		}
	}
	if err == nil {
		_, err = enc.Close()
	}
	if err == nil {
		err = store.Create(t.Context(), store.Layout().Key(level, lo, hi), bytes.NewReader(b.Bytes()), storage.Attrs{})
	}
	if err != nil {
		t.Fatal(err)
	}
}

// replica writes level 0 from a TXID onwards, compacted files in ranges of their level's
// length, and snapshots.
func (h *history) replica(t *testing.T, from format.TXID) storage.Store {
	store := &storagetest.Memory{Name: "test"}
	last := format.TXID(len(h.states) - 1)
	for txid := from; txid <= last; txid++ {
		h.write(t, store, 0, txid, txid, h.file(txid, txid))
	}
	for level, length := range []format.TXID{1: 3, 2: 6} {
		for lo := format.TXID(1); length > 0 && lo+length-1 <= last; lo += length {
			h.write(t, store, level, lo, lo+length-1, h.file(lo, lo+length-1))
		}
	}
	for txid := format.TXID(4); txid <= last; txid += 5 {
		h.write(t, store, 9, 1, txid, h.file(1, txid))
	}
	return store
}

func verifyStore(t *testing.T, store storage.Store) *Result {
	t.Helper()
	r, err := Run(t.Context(), store, Options{})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// Run finds no problem in an intact replica, whatever files level 0 still has.
func TestVerifyRight(t *testing.T) {
	for seed := range uint64(40) {
		h := newHistory(seed, 20)
		from := format.TXID(1 + seed%19)
		r := verifyStore(t, h.replica(t, from))
		if !r.OK || r.Restorable != 20 || r.TXID != 20 || r.Pages != uint32(len(h.states[20])) {
			t.Errorf("seed %d, level 0 from %s: %+v", seed, from, r)
		}
	}
}

// Run compares every page of every compacted file that level 0 or a lower level can
// prove: it finds different or missing content and names the file.
func TestVerifyWrong(t *testing.T) {
	h := newHistory(7, 20)
	for _, from := range []format.TXID{1, 8} {
		for _, f := range []format.FileInfo{
			{Level: 1, MinTXID: 7, MaxTXID: 9}, {Level: 1, MinTXID: 16, MaxTXID: 18},
			{Level: 2, MinTXID: 7, MaxTXID: 12}, {Level: 9, MinTXID: 1, MaxTXID: 14},
		} {
			right := h.file(f.MinTXID, f.MaxTXID)
			for number := range right {
				for _, lacking := range []bool{false, true} {
					if lacking && f.MinTXID == 1 {
						continue // cannot be encoded
					}
					known := f.Level > 1 || from == 1 || f.MinTXID >= from || h.changedIn(number, from, f.MaxTXID)
					testWrongPage(t, h, from, f, number, lacking, known)
				}
			}
		}
	}
}

// A file must have the pages by which the database grew, or a restore would make them up.
func TestVerifyGrowth(t *testing.T) {
	h := &history{states: []state{nil}, changed: []map[uint32]bool{nil}}
	page := bytes.Repeat([]byte{1}, testPageSize)
	for size := range 2 {
		h.states = append(h.states, slices.Repeat(state{page}, 1+2*size))
		h.changed = append(h.changed, map[uint32]bool{uint32(1 + 2*size): true})
	}
	store := &storagetest.Memory{Name: "test"}
	h.write(t, store, 0, 1, 1, h.file(1, 1))
	h.write(t, store, 0, 2, 2, h.file(2, 2)) // page 3, but not 2
	r := verifyStore(t, store)
	if len(r.Problems) == 0 || !strings.Contains(r.Problems[0].Problem, "grows from 1 to 3 pages, but page 2 is not in it") || r.Restorable != 1 {
		t.Errorf("got %+v", r)
	}
}

// Where the page size changes, a restore needs a whole database.
func TestVerifyPageSize(t *testing.T) {
	small, large := newHistory(1, 3), newHistory(2, 4)
	store := &storagetest.Memory{Name: "test"}
	for txid := format.TXID(1); txid <= 3; txid++ {
		small.write(t, store, 0, txid, txid, small.file(txid, txid))
	}
	large.pageSize = 2 * testPageSize
	large.write(t, store, 0, 4, 4, large.file(1, 4))
	r := verifyStore(t, store)
	if r.OK || r.Restorable != 3 || !strings.Contains(r.Problems[0].Problem, "pages have 512 bytes in") {
		t.Errorf("without a snapshot: %+v", r)
	}
	large.write(t, store, 9, 1, 4, large.file(1, 4))
	if r := verifyStore(t, store); !r.OK || r.Restorable != 4 {
		t.Errorf("with a snapshot: %+v", r)
	}
}

func (h *history) changedIn(number uint32, lo, hi format.TXID) bool {
	for txid := lo; txid <= hi; txid++ {
		if h.changed[txid][number] {
			return true
		}
	}
	return false
}

func testWrongPage(t *testing.T, h *history, from format.TXID, f format.FileInfo, number uint32, lacking, known bool) {
	t.Helper()
	store := h.replica(t, from)
	key := store.Layout().Key(f.Level, f.MinTXID, f.MaxTXID)
	if err := store.Delete(t.Context(), key); err != nil {
		t.Fatal(err)
	}
	pages := h.file(f.MinTXID, f.MaxTXID)
	if lacking {
		delete(pages, number)
	} else {
		pages[number] = bytes.Repeat([]byte{1}, testPageSize)
	}
	h.write(t, store, f.Level, f.MinTXID, f.MaxTXID, pages)
	r := verifyStore(t, store)
	named := false
	for _, p := range r.Problems {
		named = named || p.Key == key && strings.Contains(p.Problem, fmt.Sprintf("page %d ", number))
	}
	if known && !named {
		t.Errorf("level 0 from %s, page %d of %s, lacking %t: not found: %+v", from, number, f, lacking, r.Problems)
	}
}

// Files that retention removes during the run are not a problem; a listed file that
// cannot be read is.
func TestVerifyRemovedMeanwhile(t *testing.T) {
	h := newHistory(1, 20)
	store := &vanishing{Store: h.replica(t, 1), keys: map[string]bool{}}
	for txid := format.TXID(1); txid <= 4; txid++ {
		store.keys[store.Layout().Key(0, txid, txid)] = true
	}
	store.removed = true
	if r := verifyStore(t, store); !r.OK || r.Restorable != 20 {
		t.Errorf("removed by retention: %+v", r)
	}
	// A removed file without a compacted replacement is a problem.
	bare := &storagetest.Memory{Name: "test"}
	for txid := format.TXID(1); txid <= 6; txid++ {
		h.write(t, bare, 0, txid, txid, h.file(txid, txid))
	}
	store = &vanishing{Store: bare, keys: store.keys, removed: true}
	if r := verifyStore(t, store); r.OK || r.Restorable != 0 {
		t.Errorf("removed by mistake: %+v", r)
	}
	store = &vanishing{Store: h.replica(t, 1), keys: map[string]bool{store.Layout().Key(0, 20, 20): true}}
	if r := verifyStore(t, store); r.OK || r.Restorable != 19 {
		t.Errorf("listed, but not there: %+v", r)
	}
}

// vanishing has keys that cannot be opened, and lists removed keys only once.
type vanishing struct {
	storage.Store
	keys    map[string]bool
	removed bool
	lists   int
}

func (s *vanishing) List(ctx context.Context, prefix, after string) iter.Seq2[storage.Object, error] {
	s.lists++
	gone := s.removed && s.lists > 1
	return func(yield func(storage.Object, error) bool) {
		for o, err := range s.Store.List(ctx, prefix, after) {
			if (!gone || !s.keys[o.Key]) && !yield(o, err) {
				return
			}
		}
	}
}

func (s *vanishing) Open(ctx context.Context, key string, offset, length int64) (io.ReadCloser, storage.Attrs, error) {
	if s.keys[key] {
		return nil, storage.Attrs{}, &storage.Error{Op: "open", Key: key, Err: storage.ErrNotExist}
	}
	return s.Store.Open(ctx, key, offset, length)
}

// An object must have its listed size.
func TestVerifySize(t *testing.T) {
	store := &misleading{Store: newHistory(1, 3).replica(t, 1)}
	if r := verifyStore(t, store); r.OK || !strings.Contains(r.Problems[0].Problem, "its listing says") {
		t.Errorf("got %+v", r)
	}
}

type misleading struct{ storage.Store }

func (s *misleading) List(ctx context.Context, prefix, after string) iter.Seq2[storage.Object, error] {
	return func(yield func(storage.Object, error) bool) {
		for o, err := range s.Store.List(ctx, prefix, after) {
			if o.Size--; !yield(o, err) {
				return
			}
		}
	}
}

// An unreadable store proves nothing: that is an error, not a verdict.
func TestVerifyOutOfReach(t *testing.T) {
	store := &unreachable{Store: newHistory(1, 3).replica(t, 1)}
	opts := Options{Found: func(p Problem) { t.Error(p) }}
	if r, err := Run(t.Context(), store, opts); !errors.Is(err, errUnreachable) || r != nil {
		t.Errorf("got %v, %+v", err, r)
	}
}

var errUnreachable = errors.New("unreachable")

type unreachable struct{ storage.Store }

func (*unreachable) Open(context.Context, string, int64, int64) (io.ReadCloser, storage.Attrs, error) {
	return nil, storage.Attrs{}, &storage.Error{Op: "open", Err: errors.Join(errUnreachable, storage.ErrPermission)}
}

func TestHoles(t *testing.T) {
	file := func(level int, lo, hi format.TXID) format.FileInfo {
		return format.FileInfo{Level: level, MinTXID: lo, MaxTXID: hi}
	}
	for _, c := range []struct {
		files []format.FileInfo
		want  string
	}{
		{nil, ""},
		{[]format.FileInfo{file(0, 5, 5), file(0, 6, 6), file(9, 1, 5)}, ""},
		{[]format.FileInfo{file(0, 5, 5), file(0, 7, 7), file(1, 4, 6)}, ""}, // level 1 covers it
		{[]format.FileInfo{file(0, 5, 5), file(0, 9, 9), file(9, 1, 9)}, "TXIDs 0000000000000006 to 0000000000000008 are in no file but snapshots"},
		{[]format.FileInfo{file(1, 1, 3), file(1, 7, 8), file(2, 4, 6)}, ""},
		{[]format.FileInfo{file(1, 1, 3), file(1, 7, 8), file(2, 4, 5)}, "TXID 0000000000000006 is in no file but snapshots"},
	} {
		if got := strings.Join(holes(c.files), "; "); got != c.want {
			t.Errorf("%v: got %q, want %q", c.files, got, c.want)
		}
	}
}
