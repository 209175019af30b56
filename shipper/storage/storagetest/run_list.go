package storagetest

import (
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/walvfs/walvfs/format"
	"github.com/walvfs/walvfs/shipper/storage"
)

func list(t *testing.T, s *suite) {
	// Bytewise order is not the order of directories: '-' and '.' sort before
	// '/', digits after.
	want := []string{"a-b", "a.b", "a/b", "a/b.c", "a/b0", "a/c/d", "a0", "b", "c/d/e/f"}
	for _, i := range rand.Perm(len(want)) {
		s.create(want[i], "x")
	}
	s.wantKeys("", "", want...)
	s.wantKeys("a", "", want[:7]...)
	s.wantKeys("a/", "", "a/b", "a/b.c", "a/b0", "a/c/d")
	s.wantKeys("a/b", "", "a/b", "a/b.c", "a/b0")
	s.wantKeys("a/b.", "", "a/b.c")
	s.wantKeys("c/d/e/f", "", "c/d/e/f")
	s.wantKeys("d", "")
	s.wantKeys("a/b/", "")
	s.wantKeys("/", "")

	s.wantKeys("", "a/b", want[3:]...)
	s.wantKeys("", "a/bx", want[5:]...)
	s.wantKeys("", "a/c/d", want[6:]...)
	s.wantKeys("", "a/", want[2:]...)
	s.wantKeys("", "a", want...)
	s.wantKeys("", "zz")
	s.wantKeys("a/", "a/b0", "a/c/d")
	s.wantKeys("a/", "a-b", "a/b", "a/b.c", "a/b0", "a/c/d")
	s.wantKeys("a/", "b")

	for o := range s.store.List(t.Context(), "", "") {
		if o.Key != want[0] {
			t.Errorf("first is %q", o.Key)
		}
		break // the caller may stop
	}
	seq := s.store.List(t.Context(), "b", "")
	for range 2 { // and start again
		for o, err := range seq {
			if o.Key != "b" || err != nil {
				t.Errorf("got %q, %v", o.Key, err)
			}
		}
	}
}

// listPages lists more objects than S3 and GCS return in one answer.
func listPages(t *testing.T, s *suite) {
	const n = 1050
	keys := make([]string, n)
	for i := range keys {
		keys[i] = s.store.Layout().Key(0, format.TXID(i+1), format.TXID(i+1))
	}
	s.parallel(16, keys, func(key string) error {
		return s.store.Create(t.Context(), key, content(key), storage.Attrs{Time: someTime})
	})
	dir := s.store.Layout().Dir(0)
	s.wantKeys(dir, "", keys...)
	s.wantKeys("", keys[9], keys[10:]...)
	s.wantKeys(dir, keys[n-2], keys[n-1])
	// More keys than fit into one request.
	if err := s.store.Delete(t.Context(), keys...); err != nil {
		t.Fatal(err)
	}
	s.wantKeys("", "")
}

func (s *suite) parallel(n int, keys []string, do func(key string) error) {
	s.Helper()
	var wg sync.WaitGroup
	work := make(chan string)
	for range n {
		wg.Go(func() {
			for key := range work {
				if err := do(key); err != nil {
					s.Error(err)
				}
			}
		})
	}
	for _, key := range keys {
		work <- key
	}
	close(work)
	wg.Wait()
}

func oddKeys(t *testing.T, s *suite) {
	keys := []string{
		"%41", "100%", "a b", "a&b=c", "a'b\"c", "a+b", "a;b", "d/.hidden", "d/e..f", "q?x=y#z",
		"tilde~", "x@y:z,$!*()", "ü/日本", strings.Repeat("long/", 20) + "k",
	}
	slices.Sort(keys)
	for _, key := range keys {
		s.create(key, "content of "+key)
	}
	s.wantKeys("", "", keys...)
	for i, key := range keys {
		s.want(key, "content of "+key)
		s.wantKeys(key, "", key)
		s.wantKeys("", key, keys[i+1:]...)
	}
	if err := s.store.Delete(t.Context(), keys...); err != nil {
		t.Fatal(err)
	}
	s.wantKeys("", "")
}
