package storagetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/walvfs/walvfs/format"
	"github.com/walvfs/walvfs/shipper/storage"
)

// LargeSize is the size of the suite's large bodies. A driver that sends large
// bodies in parts should be opened so that this takes several.
const LargeSize = 12<<20 + 17

// Run tests a driver. open returns a store with an empty root, another each
// time; Run closes it.
func Run(t *testing.T, open func(t *testing.T) storage.Store) {
	for _, part := range []struct {
		name string
		test func(t *testing.T, s *suite)
	}{
		{"RoundTrip", roundTrip},
		{"Range", ranges},
		{"Missing", missing},
		{"Empty", empty},
		{"Exists", exists},
		{"Race", race},
		{"RaceLarge", raceLarge},
		{"Large", large},
		{"List", list},
		{"ListPages", listPages},
		{"OddKeys", oddKeys},
		{"Delete", deletes},
		{"FailingBody", failingBody},
		{"Cancelled", cancelled},
		{"Probe", probe},
		{"Describe", describe},
	} {
		t.Run(part.name, func(t *testing.T) {
			store := open(t)
			t.Cleanup(func() {
				if err := store.Close(); err != nil {
					t.Errorf("Close: %v", err)
				}
			})
			part.test(t, &suite{t, store})
		})
	}
}

// RunDenied tests that a store that cannot work says why: every operation must
// fail with the wanted error, and no error may hold any of the secrets.
func RunDenied(t *testing.T, store storage.Store, want error, secrets ...string) {
	t.Helper()
	s := &suite{t, store}
	_, listErr := s.keys("", "")
	r, _, openErr := store.Open(t.Context(), "key", 0, -1)
	if openErr == nil {
		r.Close()
	}
	errs := map[string]error{
		"list":   listErr,
		"open":   openErr,
		"create": store.Create(t.Context(), "key", content("x"), storage.Attrs{}),
		"delete": store.Delete(t.Context(), "a", "b"),
	}
	for op, err := range errs {
		if !errors.Is(err, want) {
			t.Errorf("%s: got %v, want %v", op, err, want)
			continue
		}
		s.typed(err, op)
		var e *storage.Error
		if errors.As(err, &e) && e.Hint == "" {
			t.Errorf("%s: no hint: %v", op, err)
		}
		noSecret(t, err.Error(), secrets)
	}
	noSecret(t, store.String(), secrets)
}

func noSecret(t *testing.T, text string, secrets []string) {
	t.Helper()
	for _, s := range secrets {
		if s != "" && strings.Contains(text, s) {
			t.Errorf("a secret is shown: %s", text)
		}
	}
}

type suite struct {
	*testing.T
	store storage.Store
}

// someTime has a fraction that all stores keep.
var someTime = time.Date(2024, 2, 29, 12, 34, 56, 789_000_000, time.UTC)

func content(s string) storage.Body { return bytes.NewReader([]byte(s)) }

func (s *suite) create(key, body string) {
	s.Helper()
	if err := s.store.Create(s.Context(), key, content(body), storage.Attrs{Time: someTime, WriteID: "id-" + key}); err != nil {
		s.Fatalf("Create %q: %v", key, err)
	}
}

func (s *suite) read(key string, offset, length int64) ([]byte, storage.Attrs) {
	s.Helper()
	r, attrs, err := s.store.Open(s.Context(), key, offset, length)
	if err != nil {
		s.Fatalf("Open %q: %v", key, err)
	}
	defer r.Close()
	b, err := io.ReadAll(r)
	if err != nil {
		s.Fatalf("reading %q: %v", key, err)
	}
	return b, attrs
}

func (s *suite) want(key, body string) {
	s.Helper()
	if got, _ := s.read(key, 0, -1); string(got) != body {
		s.Fatalf("%q holds %.40q (%d bytes), want %.40q (%d bytes)", key, got, len(got), body, len(body))
	}
}

func (s *suite) keys(prefix, startAfter string) (keys []string, err error) {
	for o, err := range s.store.List(s.Context(), prefix, startAfter) {
		if err != nil {
			return keys, err
		}
		keys = append(keys, o.Key)
	}
	return keys, nil
}

func (s *suite) wantKeys(prefix, startAfter string, want ...string) {
	s.Helper()
	got, err := s.keys(prefix, startAfter)
	if err != nil {
		s.Fatalf("List %q: %v", prefix, err)
	}
	if !slices.Equal(got, want) {
		s.Errorf("List(%q, %q)\n got %q\nwant %q", prefix, startAfter, got, want)
	}
}

func (s *suite) wantAbsent(key string) {
	s.Helper()
	r, _, err := s.store.Open(s.Context(), key, 0, -1)
	if err == nil {
		r.Close()
	}
	if !errors.Is(err, storage.ErrNotExist) {
		s.Errorf("Open %q: got %v, want ErrNotExist", key, err)
	}
	s.typed(err, "open")
	if keys, err := s.keys("", ""); err != nil || slices.Contains(keys, key) {
		s.Errorf("%q is listed (%v)", key, err)
	}
}

// typed checks that an error is the documented type and says what failed.
func (s *suite) typed(err error, op string) {
	s.Helper()
	var e *storage.Error
	if !errors.As(err, &e) {
		s.Errorf("%T is not a *storage.Error: %v", err, err)
		return
	}
	if e.Op != op || e.URL != s.store.String() || strings.Contains(err.Error(), "\n") {
		s.Errorf("op %q, URL %q, want %q, %q, on one line: %v", e.Op, e.URL, op, s.store, err)
	}
}

func (s *suite) wantAttrs(got storage.Attrs, writeID string) {
	s.Helper()
	if !got.Time.Equal(someTime) {
		s.Errorf("Attrs.Time is %v, want %v", got.Time, someTime)
	}
	if got.WriteID != writeID && !(got.WriteID == "" && strings.HasPrefix(s.store.String(), "file:")) {
		s.Errorf("Attrs.WriteID is %q, want %q", got.WriteID, writeID)
	}
}

func roundTrip(t *testing.T, s *suite) {
	key := s.store.Layout().Key(0, 1, 1)
	s.create(key, "content")
	s.want(key, "content")
	_, attrs := s.read(key, 0, -1)
	s.wantAttrs(attrs, "id-"+key)
	_, attrs = s.read(key, 2, 3)
	s.wantAttrs(attrs, "id-"+key)
	for o, err := range s.store.List(t.Context(), "", "") {
		if err != nil {
			t.Fatal(err)
		}
		if o.Key != key || o.Size != 7 || o.ModTime.IsZero() {
			t.Errorf("listed as %+v", o)
		}
	}
}

func ranges(t *testing.T, s *suite) {
	s.create("k", "0123456789")
	for _, c := range []struct {
		offset, length int64
		want           string
	}{
		{0, -1, "0123456789"}, {0, 0, ""}, {0, 1, "0"}, {0, 10, "0123456789"}, {0, 99, "0123456789"},
		{3, -1, "3456789"}, {3, 0, ""}, {3, 4, "3456"}, {9, -1, "9"}, {9, 5, "9"},
		{10, -1, ""}, {10, 3, ""}, {99, -1, ""}, {99, 1, ""},
	} {
		got, attrs := s.read("k", c.offset, c.length)
		if string(got) != c.want {
			t.Errorf("%d bytes from %d: got %q, want %q", c.length, c.offset, got, c.want)
		}
		s.wantAttrs(attrs, "id-k")
	}
	if _, _, err := s.store.Open(t.Context(), "k", -1, -1); err == nil {
		t.Error("a negative offset is no error")
	}
	// Left half read: closing must not wait for the rest.
	r, _, err := s.store.Open(t.Context(), "k", 0, -1)
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Close(); err != nil {
		t.Errorf("Close: %v", err)
	}
}

func missing(t *testing.T, s *suite) {
	s.wantKeys("", "")
	s.wantKeys("ltx/", "ltx/0/1")
	s.wantAbsent("no/such/key")
	if _, _, err := s.store.Open(t.Context(), "none", 5, 0); !errors.Is(err, storage.ErrNotExist) {
		t.Errorf("no bytes of a missing object: %v", err)
	}
	if err := s.store.Delete(t.Context(), "no/such/key", "none"); err != nil {
		t.Errorf("deleting missing objects: %v", err)
	}
	if err := s.store.Delete(t.Context()); err != nil {
		t.Errorf("deleting nothing: %v", err)
	}
	s.create("a/b", "x")
	s.wantAbsent("a") // only part of a key
}

func empty(t *testing.T, s *suite) {
	s.create("empty", "")
	for _, length := range []int64{-1, 0, 5} {
		got, attrs := s.read("empty", 0, length)
		if len(got) != 0 {
			t.Errorf("holds %q", got)
		}
		s.wantAttrs(attrs, "id-empty")
	}
	err := s.store.Create(t.Context(), "empty", content("more"), storage.Attrs{})
	if !errors.Is(err, storage.ErrExists) {
		t.Errorf("an empty object was replaced: %v", err)
	}
}

func exists(t *testing.T, s *suite) {
	s.create("a/k", "first")
	for range 2 {
		err := s.store.Create(t.Context(), "a/k", content("second, and longer"), storage.Attrs{Time: time.Now(), WriteID: "other"})
		if !errors.Is(err, storage.ErrExists) {
			t.Errorf("got %v, want ErrExists", err)
		}
		s.typed(err, "create")
	}
	s.want("a/k", "first")
	_, attrs := s.read("a/k", 0, -1)
	s.wantAttrs(attrs, "id-a/k")

	if err := s.store.Delete(t.Context(), "a/k"); err != nil {
		t.Fatal(err)
	}
	s.create("a/k", "third") // the key is free again
	s.want("a/k", "third")
}

// race is invariant 4, One log, as far as a store can hold it: of many writers
// of a key exactly one succeeds, and the content is its own.
func race(t *testing.T, s *suite) {
	for round := range 10 {
		contents := make([]string, 16)
		for i := range contents {
			contents[i] = strings.Repeat(fmt.Sprintf("writer %d;", i), 1+100*i)
		}
		s.race(fmt.Sprintf("race/%d", round), contents)
	}
}

func raceLarge(t *testing.T, s *suite) {
	contents := make([]string, 3)
	for i := range contents {
		contents[i] = string(largeBody(uint64(i)))
	}
	s.race("race/large", contents)
}

func (s *suite) race(key string, contents []string) {
	s.Helper()
	var wg sync.WaitGroup
	errs := make([]error, len(contents))
	start := make(chan struct{})
	for i, c := range contents {
		wg.Go(func() {
			<-start
			errs[i] = s.store.Create(s.Context(), key, content(c), storage.Attrs{Time: someTime, WriteID: fmt.Sprint(i)})
		})
	}
	close(start)
	wg.Wait()
	winner := -1
	for i, err := range errs {
		switch {
		case err != nil && !errors.Is(err, storage.ErrExists):
			s.Errorf("writer %d: %v", i, err)
		case err == nil && winner >= 0:
			s.Errorf("writers %d and %d both created %s", winner, i, key)
		case err == nil:
			winner = i
		}
	}
	if winner < 0 {
		s.Fatalf("nobody created %s", key)
	}
	s.want(key, contents[winner])
	_, attrs := s.read(key, 0, 1)
	s.wantAttrs(attrs, fmt.Sprint(winner))
}

func largeBody(seed uint64) []byte {
	b := make([]byte, LargeSize)
	key := [32]byte{byte(seed), 'w'}
	rand.NewChaCha8(key).Read(b)
	return b
}

func large(t *testing.T, s *suite) {
	body := largeBody(7)
	err := s.store.Create(t.Context(), "large", bytes.NewReader(body), storage.Attrs{Time: someTime, WriteID: "w"})
	if err != nil {
		t.Fatal(err)
	}
	got, attrs := s.read("large", 0, -1)
	if !bytes.Equal(got, body) {
		t.Fatalf("%d bytes came back changed (%d)", len(body), len(got))
	}
	s.wantAttrs(attrs, "w")
	if got, _ := s.read("large", 7<<20-3, 1<<20); !bytes.Equal(got, body[7<<20-3:8<<20-3]) {
		t.Error("a range in the middle came back changed")
	}
	err = s.store.Create(t.Context(), "large", bytes.NewReader(largeBody(8)), storage.Attrs{})
	if !errors.Is(err, storage.ErrExists) {
		t.Errorf("replaced: %v", err)
	}
	if got, _ := s.read("large", 0, 1<<10); !bytes.Equal(got, body[:1<<10]) {
		t.Error("the content is the loser's")
	}
}

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

// listPages lists more than S3 and GCS give in one answer.
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
	// More than one request's worth.
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

func deletes(t *testing.T, s *suite) {
	for _, key := range []string{"a/1", "a/2", "a/3", "b"} {
		s.create(key, key)
	}
	if err := s.store.Delete(t.Context(), "a/1", "missing", "a/3"); err != nil {
		t.Fatal(err)
	}
	s.wantKeys("", "", "a/2", "b")
	if err := s.store.Delete(t.Context(), "a/2"); err != nil {
		t.Fatal(err)
	}
	s.wantKeys("", "", "b")
	s.wantAbsent("a/2")
}

// broken is a body that fails, or ends, before its size.
type broken struct {
	size, good int64
	err        error
}

var errBroken = errors.New("the disk is on fire")

func (b broken) Size() int64 { return b.size }

func (b broken) ReadAt(p []byte, off int64) (int, error) {
	if off+int64(len(p)) > b.good {
		return int(max(0, b.good-off)), b.err
	}
	return len(p), nil
}

func failingBody(t *testing.T, s *suite) {
	for _, b := range []broken{
		{100, 0, errBroken},
		{100, 50, errBroken},
		{1 << 20, 1 << 19, errBroken},
		{LargeSize, LargeSize - 1, errBroken},
		{LargeSize, 6 << 20, errBroken},
		{100, 50, io.EOF}, // shorter than it said
		{LargeSize, LargeSize - 1, io.EOF},
	} {
		err := s.store.Create(t.Context(), "k", b, storage.Attrs{Time: someTime})
		if err == nil {
			t.Fatalf("%+v: created", b)
		}
		if b.err == errBroken && !errors.Is(err, errBroken) {
			t.Errorf("%+v: the cause is lost: %v", b, err)
		}
		s.typed(err, "create")
		s.wantAbsent("k")
	}
	s.create("k", "whole") // nothing is in the way
}

func cancelled(t *testing.T, s *suite) {
	s.create("k", "x")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	check := func(op string, err error) {
		t.Helper()
		if !errors.Is(err, context.Canceled) {
			t.Errorf("%s: got %v, want context.Canceled", op, err)
		}
		s.typed(err, op)
	}
	check("create", s.store.Create(ctx, "new", content("x"), storage.Attrs{}))
	check("delete", s.store.Delete(ctx, "k"))
	_, _, err := s.store.Open(ctx, "k", 0, -1)
	check("open", err)
	for _, err = range s.store.List(ctx, "", "") {
	}
	check("list", err)
	s.wantKeys("", "", "k")

	// Cancelled on the way: a body that is read to its middle.
	ctx, cancel = context.WithCancel(t.Context())
	defer cancel()
	err = s.store.Create(ctx, "new", &cancelling{broken{size: LargeSize, good: LargeSize}, cancel}, storage.Attrs{})
	check("create", err)
	s.wantAbsent("new")
}

type cancelling struct {
	broken
	cancel func()
}

func (c *cancelling) ReadAt(p []byte, off int64) (int, error) {
	if off > LargeSize/2 {
		c.cancel()
	}
	return c.broken.ReadAt(p, off)
}

func probe(t *testing.T, s *suite) {
	got, err := storage.Probe(t.Context(), s.store)
	if got != storage.ConditionSupported || err != nil {
		t.Errorf("Probe: %v, %v", got, err)
	}
	s.wantKeys("", "") // it cleaned up
}

func describe(t *testing.T, s *suite) {
	str := s.store.String()
	if err := storage.Check(str); err != nil {
		t.Errorf("%q is no URL: %v", str, err)
	}
	if strings.HasSuffix(str, "/") || strings.ContainsAny(str, "?@") {
		t.Errorf("%q has more than a URL without secrets needs", str)
	}
}
