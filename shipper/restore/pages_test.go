package restore

import (
	"bytes"
	"errors"
	"sync"
	"testing"

	"github.com/walvfs/walvfs/format"
	"github.com/walvfs/walvfs/shipper/storage"
)

// memorySink keeps the pages.
type memorySink struct {
	mu       sync.Mutex
	db       []byte
	pages    map[uint32]int // how often each page came
	resets   int
	writeErr error
}

func (s *memorySink) Reset() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.db, s.pages = nil, map[uint32]int{}
	s.resets++
	return nil
}

func (s *memorySink) WritePages(pageSize int, first uint32, pages []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	end := (int(first)-1)*pageSize + len(pages)
	s.db = append(s.db, make([]byte, max(0, end-len(s.db)))...)
	copy(s.db[end-len(pages):], pages)
	for i := range len(pages) / pageSize {
		s.pages[first+uint32(i)]++
	}
	return s.writeErr
}

// A sink gets each page of the database once, and the result identifies the state.
func TestReadPages(t *testing.T) {
	s := newSource(t)
	s.random(20)
	s.ship(format.LevelSnapshot, 1, 12)
	for _, txid := range []format.TXID{1, 7, 12, 20} {
		sink := &memorySink{}
		r, err := ReadPages(t.Context(), s.store, Options{TXID: txid}, sink)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(sink.db, s.images[txid]) {
			t.Errorf("TXID %s: other pages", txid)
		}
		for number, n := range sink.pages {
			if n != 1 {
				t.Errorf("page %d came %d times", number, n)
			}
		}
		if r.TXID != txid || r.Newest != 20 || r.Checksum != trailerOf(t, s, 0, txid, txid) ||
			r.PageSize != testPageSize || r.Pages != s.pages(txid) {
			t.Errorf("result is %+v", r)
		}
	}
}

// If a file is removed before it is read, the sink starts again with another plan.
func TestReadPagesAgain(t *testing.T) {
	s := smallReplica(t)
	var opts Options
	removeUnderWay(s, &opts, planKeys(s)[0], func() {
		s.ship(format.LevelSnapshot, 1, 4)
		s.drop(format.LevelSnapshot, 1, 2)
	})
	sink := &memorySink{}
	if _, err := ReadPages(t.Context(), s.store, opts, sink); err != nil {
		t.Fatal(err)
	}
	if sink.resets != 2 {
		t.Errorf("%d resets", sink.resets)
	}
	if !bytes.Equal(sink.db, s.images[smallTip]) {
		t.Error("other pages")
	}
}

// An error of the sink ends ReadPages, and so does a damaged file.
func TestReadPagesFails(t *testing.T) {
	s := smallReplica(t)
	if _, err := ReadPages(t.Context(), s.store, Options{}, &memorySink{writeErr: errDisk}); !errors.Is(err, errDisk) {
		t.Error(err)
	}
	cut(s, s.store.layout.Key(0, 4, 4), 1)
	if _, err := ReadPages(t.Context(), s.store, Options{}, &memorySink{}); !errors.Is(err, format.ErrCorrupt) {
		t.Error(err)
	}
	var none storage.Store = newSource(t).store
	if _, err := ReadPages(t.Context(), none, Options{}, &memorySink{}); !errors.Is(err, ErrNoReplica) {
		t.Error(err)
	}
}
