package reader

import (
	"bytes"
	"context"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/walvfs/walvfs/format"
	"github.com/walvfs/walvfs/shipper/storage"
	"github.com/walvfs/walvfs/shipper/storage/storagetest"
)

// inOrder returns the numbers of consecutive pages.
func inOrder(from, n uint32) (pgnos []uint32) {
	for pgno := from; pgno < from+n; pgno++ {
		pgnos = append(pgnos, pgno)
	}
	return pgnos
}

// A long scan reads the pages of a later file in few requests, in however many windows
// they are. A short scan reads only the pages that it wants.
func TestScanOfLaterFiles(t *testing.T) {
	store, state := largeReplica(t)
	s := testSource(store)
	defer s.pages.cancel()
	v := newestView(t, s)
	s.loadIndex(v.base)
	s.pages.background.Wait()
	opens := 0
	store.SetBefore(func(_ context.Context, op, key string) error {
		if op == "open" && strings.HasPrefix(key, "0000/") {
			opens++
		}
		return nil
	})
	before := s.pages.cache.bytes()
	s.pages.ahead(v, inOrder(5001, 9), false)
	s.pages.background.Wait()
	if n := s.pages.cache.bytes() - before; opens != 1 || n > 9*testPageSize {
		t.Errorf("a short scan: %d requests, %d bytes", opens, n)
	}
	for from := uint32(1); int(from) <= len(state); from += 500 {
		s.pages.ahead(v, inOrder(from, 500), true)
		s.pages.background.Wait()
	}
	if opens > 5 {
		t.Errorf("a long scan: %d requests", opens)
	}
	store.SetBefore(nil)
	requireState(t, s, v, state)
}

// A halved store sends half of each answer, and the second half once rest is closed.
type halvedStore struct {
	*storagetest.Memory
	rest chan struct{} // closed to send the second half
}

func (s halvedStore) Open(ctx context.Context, key string, offset, length int64) (io.ReadCloser, storage.Attrs, error) {
	body, attrs, err := s.Memory.Open(ctx, key, offset, length)
	if err != nil {
		return nil, attrs, err
	}
	defer body.Close()
	b, err := io.ReadAll(body)
	half := len(b) / 2
	return io.NopCloser(io.MultiReader(bytes.NewReader(b[:half]), waitingReader(s.rest), bytes.NewReader(b[half:]))), attrs, err
}

// waitingReader is empty, and ends when the channel is closed.
type waitingReader chan struct{}

func (r waitingReader) Read([]byte) (int, error) { <-r; return 0, io.EOF }

// A connection that waits for a page of a range gets it when it arrives, not after the
// whole range.
func TestRangesAreHandedOutAsTheyCome(t *testing.T) {
	store, _ := largeReplica(t)
	s := testSource(store)
	defer s.pages.cancel()
	v := newestView(t, s)
	s.loadIndex(v.base)
	s.pages.background.Wait()
	half := halvedStore{store, make(chan struct{})}
	h := testSource(half)
	defer h.pages.cancel()
	defer h.pages.background.Wait()
	h.pages.ahead(v, inOrder(5001, 100), false)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	first, last := mustFind(t, v, 5001), mustFind(t, v, 5100)
	_, err := h.pages.frame(ctx, first)
	if h.pages.cache.has(last.key()) {
		t.Error("the last page is there before the store has sent it")
	}
	close(half.rest)
	if err != nil {
		t.Fatalf("the first page: %v", err)
	}
	if _, err := h.pages.frame(ctx, last); err != nil {
		t.Errorf("the last page: %v", err)
	}
}

func mustFind(t *testing.T, v *view, pgno uint32) place {
	t.Helper()
	at, err := v.find(t.Context(), pgno)
	if err != nil {
		t.Fatal(err)
	}
	return at
}

// A page of the base that was cut off later is not part of the database, even if it is
// cached and its place is known.
func TestCutOffPagesAreNotThere(t *testing.T) {
	store, _ := largeReplica(t)
	state := make([]format.TXID, 14000)
	state[0] = 3
	put(t, store, format.LevelRaw, encode(t, 3, 3, 100, state))
	state[len(state)-1] = 4
	put(t, store, format.LevelRaw, encode(t, 4, 4, uint32(len(state)), state))
	s := testSource(store)
	defer s.pages.cancel()
	v := newestView(t, s)
	e, ok, err := v.base.find(t.Context(), 9000)
	if err == nil && ok {
		_, err = s.pages.frame(t.Context(), place{v.base, e})
	}
	if err != nil || !ok {
		t.Fatal(ok, err)
	}
	if _, ok := v.base.known(9000); !ok || v.base.windows == nil {
		t.Fatal("its place is not in a window that was read")
	}
	if s.pages.there(v, 9000, make([]byte, testPageSize)) {
		t.Error("it is there")
	}
}

// A scan creates no context for a cached page: that would be a timer for each page.
func TestCachedPagesTakeNoMemory(t *testing.T) {
	store := &storagetest.Memory{Name: "app"}
	history(t, store, 3, 40)
	s := testSource(store)
	defer s.pages.cancel()
	c := &conn{source: s, view: newestView(t, s)}
	if n := testing.AllocsPerRun(100, func() {
		if _, err := c.readPage(5); err != nil {
			t.Fatal(err)
		}
	}); n > 1 {
		t.Errorf("%v allocations", n)
	}
}
