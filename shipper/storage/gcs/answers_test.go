package gcs

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/walvfs/walvfs/shipper/storage"
	"github.com/walvfs/walvfs/shipper/storage/internal/driver"
	"github.com/walvfs/walvfs/shipper/storage/storagetest"
)

// openFake opens a replica at a server with unrealistic answers.
func openFake(t *testing.T, handle http.HandlerFunc) *Store {
	t.Helper()
	server := httptest.NewServer(handle)
	t.Cleanup(server.Close)
	r := storagetest.Replica{URL: "gs://b/app", Options: storage.Options{Endpoint: server.URL}}
	t.Setenv("STORAGE_EMULATOR_HOST", "")
	return openTest(t, &r)
}

func list(t *testing.T, s *Store) (keys []string, err error) {
	for o, err := range s.List(t.Context(), "ltx/", "") {
		if err != nil {
			return keys, err
		}
		keys = append(keys, o.Key)
	}
	return keys, nil
}

// TestForeignAnswer: an answer that is not the service's is an error, and never an empty
// replica, a missing object, or a successful create.
func TestForeignAnswer(t *testing.T) {
	for name, body := range map[string]string{
		"Empty": "", "HTML": "<!DOCTYPE html><html><body>Sign in</body></html>", "Text": "OK", "JSON": "{}",
		"OtherJSON": `{"kind": "storage#bucket"}`, "HalfJSON": `{"kind": "storage#objects", "items": [`,
	} {
		t.Run(name, func(t *testing.T) {
			s := openFake(t, func(w http.ResponseWriter, req *http.Request) {
				io.Copy(io.Discard, req.Body)
				io.WriteString(w, body)
			})
			_, listErr := list(t, s)
			_, _, openErr := s.Open(t.Context(), "k", 0, -1)
			_, _, headErr := s.Open(t.Context(), "k", 0, 0)
			for op, err := range map[string]error{
				"list":   listErr,
				"open":   openErr,
				"head":   headErr,
				"create": s.Create(t.Context(), "k", strings.NewReader("x"), storage.Attrs{}),
				"pieces": s.Create(t.Context(), "k", bytes.NewReader(make([]byte, 3<<20)), storage.Attrs{}),
			} {
				if err == nil || errors.Is(err, storage.ErrNotExist) || storage.Refused(err) {
					t.Errorf("%s: %v", op, err)
				}
			}
			for op, err := range map[string]error{"list": listErr, "open": openErr} {
				if !errors.Is(err, driver.ErrForeign) || !strings.Contains(err.Error(), "proxy") {
					t.Errorf("%s: %v", op, err)
				}
			}
		})
	}
}

// TestBrokenListing: a listing that repeats a token, or belongs to another prefix, is an
// error.
func TestBrokenListing(t *testing.T) {
	item := func(name string) string { return fmt.Sprintf(`{"name": %q, "size": "1"}`, name) }
	page := func(token string, items ...string) string {
		return fmt.Sprintf(`{"kind": "storage#objects", "nextPageToken": %q, "items": [%s]}`, token, strings.Join(items, ","))
	}
	for _, c := range []struct {
		name  string
		pages []string // the last page is repeated
		keys  int
		want  string // of the error
	}{
		{"Whole", []string{page("a", item("app/ltx/1")), page("", item("app/ltx/2"))}, 2, ""},
		{"SameToken", []string{page("a")}, 0, "repeats a"},
		{"SamePage", []string{page("a", item("app/ltx/1")), page("b", item("app/ltx/1"))}, 1, "in order"},
		{"OtherPrefix", []string{page("", item("other/ltx/1"))}, 0, "not below"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var n atomic.Int32
			s := openFake(t, func(w http.ResponseWriter, req *http.Request) {
				i := int(n.Add(1)) - 1
				if i > 10 {
					panic(http.ErrAbortHandler) // for ever
				}
				if !strings.HasPrefix(req.URL.Query().Get("fields"), "kind,") {
					t.Errorf("fields are %q", req.URL.Query().Get("fields"))
				}
				io.WriteString(w, c.pages[min(i, len(c.pages)-1)])
			})
			keys, err := list(t, s)
			if len(keys) != c.keys || (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %q, %v, want %d keys, %q", keys, err, c.keys, c.want)
			}
		})
	}
}

// TestRefusedOnce: the client sends a rejected request once, and marks its error.
func TestRefusedOnce(t *testing.T) {
	for code, want := range map[int]error{400: storage.ErrRefused, 401: storage.ErrPermission, 403: storage.ErrPermission, 405: storage.ErrRefused} {
		var n atomic.Int32
		s := openFake(t, func(w http.ResponseWriter, req *http.Request) {
			n.Add(1)
			io.Copy(io.Discard, req.Body)
			refuse(w, code, "no")
		})
		_, listErr := list(t, s)
		_, _, openErr := s.Open(t.Context(), "k", 0, -1)
		for op, err := range map[string]error{
			"list":   listErr,
			"open":   openErr,
			"create": s.Create(t.Context(), "k", strings.NewReader("x"), storage.Attrs{}),
			"delete": s.Delete(t.Context(), "k"),
		} {
			if !errors.Is(err, want) || !storage.Refused(err) {
				t.Errorf("%d: %s: %v", code, op, err)
			}
		}
		if n.Load() != 4 {
			t.Errorf("%d: %d requests for 4 operations", code, n.Load())
		}
	}
}

// TestSettings: each request has the settings that it needs.
func TestSettings(t *testing.T) {
	const key = "BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc="
	t.Setenv(storage.EnvCustomerKey, key)
	var mu sync.Mutex
	seen := map[string]*http.Request{}
	bodies := map[string]string{}
	r := storagetest.GCS(t)
	r.URL += "?user-project=payer&storage-class=NEARLINE"
	s := openTest(t, r.Proxy(t, func(w http.ResponseWriter, req *http.Request, next http.Handler) {
		body, _ := io.ReadAll(req.Body)
		req.Body = io.NopCloser(bytes.NewReader(body))
		mu.Lock()
		seen[req.Method], bodies[req.Method] = req.Clone(t.Context()), string(body)
		mu.Unlock()
		next.ServeHTTP(w, req)
	}))
	if err := s.Create(t.Context(), "k", strings.NewReader("x"), storage.Attrs{}); err != nil {
		t.Fatal(err)
	}
	mu.Lock()
	if b := bodies["POST"]; !strings.Contains(b, `"storageClass":"NEARLINE"`) {
		t.Errorf("created with %s", b)
	}
	mu.Unlock()
	check := func(op, method string) {
		t.Helper()
		mu.Lock()
		defer mu.Unlock()
		req := seen[method]
		if req == nil {
			t.Errorf("%s: no request", op)
			return
		}
		if req.Header.Get("X-Goog-Encryption-Key") != key || req.Header.Get("X-Goog-Encryption-Algorithm") != "AES256" {
			t.Errorf("%s: headers %v", op, req.Header)
		}
		if req.URL.Query().Get("userProject") != "payer" && req.Header.Get("X-Goog-User-Project") != "payer" {
			t.Errorf("%s: no project pays: %s, %v", op, req.URL, req.Header)
		}
		clear(seen)
	}
	check("create", "POST")
	for _, length := range []int64{-1, 0} {
		body, _, err := s.Open(t.Context(), "k", 0, length)
		if err != nil {
			t.Fatal(err)
		}
		body.Close()
		check("open", "GET")
	}
}

// TestSettingsErrors: opening the store reports invalid settings.
func TestSettingsErrors(t *testing.T) {
	for query, want := range map[string]string{
		"sse=aws:kms":                           "Google encrypts every object",
		"request-payer=requester":               "user-project=PROJECT",
		"sse-kms-key-id=alias/app":              "expected projects/",
		"sse-customer-key=hunter2":              "sse-customer-key-path=FILE",
		"sse-customer-key-path=/none":           "/none",
		"sse-kms-key-id=projects/p&endpoint=:x": "endpoint",
	} {
		s, err := storage.Open(t.Context(), "gs://b/p?"+query, storage.Options{})
		if err == nil {
			s.Close()
		}
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: got %v, want %q", query, err, want)
		}
	}
}
