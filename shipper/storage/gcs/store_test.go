package gcs

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/walvfs/walvfs/shipper/storage"
	"github.com/walvfs/walvfs/shipper/storage/storagetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(storagetest.WithTools(m)) }

// openTest opens a replica such that the suite's large bodies take many pieces.
func openTest(t testing.TB, r *storagetest.Replica) *Store {
	t.Helper()
	s := r.Open(t).(*Store)
	s.chunkSize = 1 << 20
	return s
}

func unsetenv(t *testing.T, name string) {
	t.Setenv(name, "") // so that the test restores it
	os.Unsetenv(name)
}

func TestStore(t *testing.T) {
	storagetest.Run(t, func(t *testing.T) storage.Store { return openTest(t, storagetest.GCS(t)) })
}

// TestURLAlone opens a replica like the VFS and the command line.
func TestURLAlone(t *testing.T) {
	r := storagetest.GCS(t)
	t.Setenv("GOOGLE_APPLICATION_CREDENTIALS", t.TempDir()+"/none")
	r.Setenv(t)
	r.Options = storage.Options{}
	s := openTest(t, r)
	for _, size := range []int{0, 10, 3 << 20} {
		if err := s.Create(t.Context(), "k", bytes.NewReader(make([]byte, size)), storage.Attrs{}); err != nil {
			t.Fatal(err)
		}
		body, _, err := s.Open(t.Context(), "k", 0, -1)
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(body)
		if len(got) != size || err != nil {
			t.Errorf("%d bytes: got %d, %v", size, len(got), err)
		}
		body.Close()
		if err := s.Delete(t.Context(), "k"); err != nil {
			t.Fatal(err)
		}
	}
}

func TestURL(t *testing.T) {
	for _, c := range []struct {
		url  string
		opts storage.Options
		want string // of the error, or bucket and root
	}{
		{url: "gs://b/p/q/", want: "b p/q/"},
		{url: "gs://b", want: "b "},
		{url: "gs://my.b.com/p", want: "my.b.com p/"},
		{url: "gs:///p", want: "expected gs://bucket/path"},
		{url: "gs://b/p?region=x", want: `"region"`},
		{url: "gs://u:hunter2@b/p", want: "credentials do not belong"},
		{url: "gs://b/p?endpoint=http://u:hunter2@x", want: "endpoint: expected"},
		{url: "gs://b/p", opts: storage.Options{AccessKeyID: "a", SecretAccessKey: "hunter2"}, want: "access keys are for s3"},
	} {
		u, err := url.Parse(c.url)
		if err != nil {
			t.Fatal(err)
		}
		s, err := Open(u, c.opts)
		got := ""
		if err == nil {
			defer s.Close()
			got = s.bucket + " " + s.root
		} else {
			got = err.Error()
		}
		if !strings.Contains(got, c.want) || strings.Contains(got, "hunter2") {
			t.Errorf("%s: got %q, want %q", c.url, got, c.want)
		}
	}
}

func TestDenied(t *testing.T) {
	good := storagetest.GCS(t)
	t.Run("NoBucket", func(t *testing.T) {
		r := *good
		r.URL = "gs://walvfs-no-such-bucket/app"
		storagetest.RunDenied(t, r.Open(t), storage.ErrNoBucket)
	})
	t.Run("NoCredentials", func(t *testing.T) {
		unsetenv(t, "STORAGE_EMULATOR_HOST")
		t.Setenv("GOOGLE_APPLICATION_CREDENTIALS", t.TempDir()+"/none")
		r := *good
		r.Options = storage.Options{}
		storagetest.RunDenied(t, r.Open(t), storage.ErrPermission)
	})
	for name, code := range map[string]int{"Unauthorized": 401, "Forbidden": 403} {
		t.Run(name, func(t *testing.T) {
			r := good.Proxy(t, func(w http.ResponseWriter, _ *http.Request, _ http.Handler) { refuse(w, code, "no") })
			storagetest.RunDenied(t, r.Open(t), storage.ErrPermission)
		})
	}
}

func refuse(w http.ResponseWriter, code int, message string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	io.WriteString(w, `{"error":{"code":`+strconv.Itoa(code)+`,"message":"`+message+`"}}`)
}

// TestGivesUp: an unreachable server is an error within a few seconds, also for uploads,
// which the client would repeat for ever.
func TestGivesUp(t *testing.T) {
	var n atomic.Int32
	r := storagetest.GCS(t).Proxy(t, func(w http.ResponseWriter, req *http.Request, _ http.Handler) {
		n.Add(1)
		io.Copy(io.Discard, req.Body)
		refuse(w, 503, "busy")
	})
	s := openTest(t, r)
	for _, size := range []int{1, 3 << 20} {
		n.Store(0)
		err := s.Create(t.Context(), "k", bytes.NewReader(make([]byte, size)), storage.Attrs{})
		if err == nil || !strings.Contains(err.Error(), "busy") || n.Load() != attempts {
			t.Errorf("%d bytes: %d attempts: %v", size, n.Load(), err)
		}
	}
}

func TestProbe(t *testing.T) {
	for _, c := range []struct {
		name   string
		handle func(http.ResponseWriter, *http.Request, http.Handler)
		want   storage.Condition
		err    error
	}{
		{"Supported", func(w http.ResponseWriter, req *http.Request, next http.Handler) { next.ServeHTTP(w, req) },
			storage.ConditionSupported, nil},
		{"Ignored", func(w http.ResponseWriter, req *http.Request, next http.Handler) {
			q := req.URL.Query()
			q.Del("ifGenerationMatch")
			req.URL.RawQuery = q.Encode()
			next.ServeHTTP(w, req)
		}, storage.ConditionIgnored, nil},
		{"Refused", func(w http.ResponseWriter, req *http.Request, next http.Handler) {
			if req.Method == http.MethodPost {
				refuse(w, 501, "not implemented")
				return
			}
			next.ServeHTTP(w, req)
		}, storage.ConditionRefused, nil},
		{"Forbidden", func(w http.ResponseWriter, req *http.Request, next http.Handler) { refuse(w, 403, "no") },
			storage.ConditionUnknown, storage.ErrPermission},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := openTest(t, storagetest.GCS(t).Proxy(t, c.handle))
			got, err := storage.Probe(t.Context(), s)
			if got != c.want || !errors.Is(err, c.err) {
				t.Errorf("got %v, %v, want %v, %v", got, err, c.want, c.err)
			}
		})
	}
}

// TestLostAnswer: the client repeats a create that succeeded, and the second attempt
// reports that the object exists. It does, and holds our content.
func TestLostAnswer(t *testing.T) {
	var lost atomic.Bool
	r := storagetest.GCS(t).Proxy(t, func(w http.ResponseWriter, req *http.Request, next http.Handler) {
		if req.Method == http.MethodPost && lost.CompareAndSwap(false, true) {
			next.ServeHTTP(httptest.NewRecorder(), req)
			panic(http.ErrAbortHandler)
		}
		next.ServeHTTP(w, req)
	})
	s := openTest(t, r)
	err := s.Create(t.Context(), "k", strings.NewReader("mine"), storage.Attrs{WriteID: "id"})
	if !errors.Is(err, storage.ErrExists) {
		t.Fatalf("got %v, want ErrExists", err)
	}
	body, attrs, err := s.Open(t.Context(), "k", 0, -1)
	if err != nil {
		t.Fatal(err)
	}
	defer body.Close()
	if got, _ := io.ReadAll(body); string(got) != "mine" || attrs.WriteID != "id" {
		t.Errorf("got %q, %+v", got, attrs)
	}
}

// TestOneRequest: a small object is one request, a large one is in pieces.
func TestOneRequest(t *testing.T) {
	var n atomic.Int32
	r := storagetest.GCS(t).Proxy(t, func(w http.ResponseWriter, req *http.Request, next http.Handler) {
		n.Add(1)
		next.ServeHTTP(w, req)
	})
	s := r.Open(t).(*Store)
	for _, size := range []int{0, 1, 256 << 10, 256<<10 + 1, chunkSize - 1} {
		n.Store(0)
		if err := s.Create(t.Context(), strconv.Itoa(size), bytes.NewReader(make([]byte, size)), storage.Attrs{}); err != nil {
			t.Fatal(err)
		}
		if n.Load() != 1 {
			t.Errorf("%d bytes took %d requests", size, n.Load())
		}
	}
}

// TestBounded is invariant 6, Bounded: a body takes the memory of one piece.
func TestBounded(t *testing.T) {
	r := storagetest.GCS(t)
	s := r.Open(t).(*Store)
	s.chunkSize = 1 << 20
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	if err := s.Create(t.Context(), "k", zeros(24<<20), storage.Attrs{}); err != nil {
		t.Fatal(err)
	}
	runtime.ReadMemStats(&after)
	if n := after.TotalAlloc - before.TotalAlloc; n > 8<<20 {
		t.Errorf("%d bytes allocated", n)
	}
}

type zeros int64

func (z zeros) Size() int64                           { return int64(z) }
func (z zeros) ReadAt(p []byte, _ int64) (int, error) { clear(p); return len(p), nil }

// TestStall: the store gives up on a server that does not answer, and the error is not
// mistaken for the caller's own cancellation.
func TestStall(t *testing.T) {
	release := make(chan struct{})
	r := storagetest.GCS(t).Proxy(t, func(_ http.ResponseWriter, req *http.Request, _ http.Handler) {
		io.Copy(io.Discard, req.Body)
		<-release
	})
	t.Cleanup(func() { close(release) })
	s := r.Open(t).(*Store)
	s.patience = 100 * time.Millisecond
	check := func(op string, err error) {
		t.Helper()
		if err == nil || errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), "no progress") {
			t.Errorf("%s: %v", op, err)
		}
	}
	check("Create", s.Create(t.Context(), "k", bytes.NewReader([]byte("x")), storage.Attrs{}))
	_, _, err := s.Open(t.Context(), "k", 0, -1)
	check("Open", err)
	check("Delete", s.Delete(t.Context(), "k"))
	for _, err = range s.List(t.Context(), "", "") {
	}
	check("List", err)
}

// TestStartAfter: the service skips keys outside the request.
func TestStartAfter(t *testing.T) {
	s := openTest(t, storagetest.GCS(t).Proxy(t, func(w http.ResponseWriter, req *http.Request, next http.Handler) {
		if req.Method == http.MethodGet && req.URL.Query().Get("startOffset") != "app/8" {
			t.Errorf("asked for %s", req.URL)
		}
		next.ServeHTTP(w, req)
	}))
	for i := range 10 {
		if err := s.Create(t.Context(), strconv.Itoa(i), strings.NewReader("x"), storage.Attrs{}); err != nil {
			t.Fatal(err)
		}
	}
	for o, err := range s.List(t.Context(), "", "8") {
		if err != nil || o.Key != "9" {
			t.Errorf("got %q, %v", o.Key, err)
		}
	}
}
