package storagetest

import (
	"bytes"
	"errors"
	"io"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/walvfs/walvfs/shipper/storage"
)

// LargeSize is the size of the suite's large bodies. A driver that sends large bodies in
// parts should be opened so that such a body takes several parts.
const LargeSize = 12<<20 + 17

// Run tests a driver. open returns a different store with an empty root each time; Run
// closes it.
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
		{"Ready", ready},
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

// RunDenied tests that an unusable store reports why: every operation must fail with the
// wanted error, which no retry soon can fix, and no error may contain any of the secrets.
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
		if !errors.Is(err, want) || !storage.Refused(err) {
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

// typed checks that an error has the documented type and names the failed operation.
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
	// Half read: closing must not wait for the rest.
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

func probe(t *testing.T, s *suite) {
	got, err := storage.Probe(t.Context(), s.store)
	if got != storage.ConditionSupported || err != nil {
		t.Errorf("Probe: %v, %v", got, err)
	}
	if err := storage.CheckFencing(t.Context(), s.store); err != nil {
		t.Errorf("CheckFencing: %v", err)
	}
	s.wantKeys("", "") // they cleaned up
}

func describe(t *testing.T, s *suite) {
	str := s.store.String()
	if u, err := url.Parse(str); err != nil || u.Scheme == "" {
		t.Errorf("%q is no URL: %v", str, err)
	}
	if strings.HasSuffix(str, "/") || strings.ContainsAny(str, "?@") {
		t.Errorf("%q has more than a URL without secrets needs", str)
	}
	if !strings.HasPrefix(storage.Place(s.store), storage.Bucket(s.store)) && !strings.HasPrefix(str, "file:") {
		t.Errorf("place %q is not in bucket %q", storage.Place(s.store), storage.Bucket(s.store))
	}
}
