package s3

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
	"time"

	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/walvfs/walvfs/shipper/storage"
	"github.com/walvfs/walvfs/shipper/storage/storagetest"
)

// isPut reports whether a request creates an object, alone or as the last of an upload.
func isPut(req *http.Request) bool {
	return req.Method == http.MethodPut && !req.URL.Query().Has("partNumber") || isComplete(req)
}

// isProbe reports whether a request checks what the service supports.
func isProbe(req *http.Request) bool { return strings.Contains(req.URL.Path, storage.ProbePrefix) }

func isComplete(req *http.Request) bool {
	return req.Method == http.MethodPost && req.URL.Query().Has("uploadId")
}

func TestProbe(t *testing.T) {
	put := func(status int, code, message string) func(http.ResponseWriter, *http.Request, http.Handler) {
		return func(w http.ResponseWriter, req *http.Request, next http.Handler) {
			if isPut(req) {
				refuse(w, status, code, message)
				return
			}
			next.ServeHTTP(w, req)
		}
	}
	for _, c := range []struct {
		name   string
		handle func(http.ResponseWriter, *http.Request, http.Handler)
		want   storage.Condition
		err    error
	}{
		{"Supported", func(w http.ResponseWriter, req *http.Request, next http.Handler) { next.ServeHTTP(w, req) },
			storage.ConditionSupported, nil},
		{"Ignored", func(w http.ResponseWriter, req *http.Request, next http.Handler) {
			req.Header.Del("If-None-Match")
			next.ServeHTTP(w, req)
		}, storage.ConditionIgnored, nil},
		{"NotImplemented", put(501, "NotImplemented", "A header you provided implies functionality that is not implemented"),
			storage.ConditionRefused, nil},
		{"BadHeader", put(400, "InvalidArgument", "Unsupported header If-None-Match"), storage.ConditionRefused, nil},
		{"Forbidden", put(403, "AccessDenied", "no"), storage.ConditionUnknown, storage.ErrPermission},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := storagetest.S3(t)
			got, err := storage.Probe(t.Context(), openTest(t, r.Proxy(t, c.handle)))
			if got != c.want || !errors.Is(err, c.err) {
				t.Errorf("got %v, %v, want %v, %v", got, err, c.want, c.err)
			}
			for o, err := range openTest(t, r).List(t.Context(), "", "") {
				t.Errorf("left behind: %v, %v", o, err)
			}
		})
	}
}

// TestUnconditional: the store writes to a service that refuses the condition without it,
// after a check.
func TestUnconditional(t *testing.T) {
	for name, size := range sizes {
		t.Run(name, func(t *testing.T) {
			r := storagetest.S3(t).Proxy(t, func(w http.ResponseWriter, req *http.Request, next http.Handler) {
				if req.Header.Get("If-None-Match") != "" {
					refuse(w, 501, "NotImplemented", "A header you provided implies functionality that is not implemented")
					return
				}
				next.ServeHTTP(w, req)
			})
			r.Options.Unconditional = true
			s := openTest(t, r)
			create(t, s, "k", size)
			err := s.Create(t.Context(), "k", bytes.NewReader([]byte("other")), storage.Attrs{})
			if !errors.Is(err, storage.ErrExists) {
				t.Errorf("created twice: %v", err)
			}
		})
	}
}

// sizes are the sizes of a body in one request and of a body in parts.
var sizes = map[string]int{"Put": 10, "Parts": 11 << 20}

// TestConflict: 409 means that another request for the key was in progress. The store
// retries, an upload in parts from its start.
func TestConflict(t *testing.T) {
	for name, size := range sizes {
		t.Run(name, func(t *testing.T) {
			var puts, uploads atomic.Int32
			r := storagetest.S3(t).Proxy(t, func(w http.ResponseWriter, req *http.Request, next http.Handler) {
				if isProbe(req) {
					next.ServeHTTP(w, req)
					return
				}
				if req.URL.Query().Has("uploads") {
					uploads.Add(1)
				}
				if isPut(req) && puts.Add(1) <= 2 {
					io.Copy(io.Discard, req.Body)
					refuse(w, 409, "ConditionalRequestConflict", "try again")
					return
				}
				next.ServeHTTP(w, req)
			})
			s := openTest(t, r)
			create(t, s, "k", size)
			if puts.Load() != 3 || name == "Parts" && uploads.Load() != 3 {
				t.Errorf("%d puts, %d uploads", puts.Load(), uploads.Load())
			}
			wantNoUploads(t, s)
		})
	}
}

func create(t *testing.T, s *Store, key string, size int) {
	t.Helper()
	if err := s.Create(t.Context(), key, bytes.NewReader(make([]byte, size)), storage.Attrs{}); err != nil {
		t.Fatal(err)
	}
}

// wantNoUploads checks that no parts remain, which cost money.
func wantNoUploads(t *testing.T, s *Store) {
	t.Helper()
	out, err := s.client.ListMultipartUploads(t.Context(), &s3.ListMultipartUploadsInput{Bucket: &s.bucket})
	if err != nil || len(out.Uploads) > 0 {
		t.Errorf("uploads left: %v, %v", out, err)
	}
}

func TestAborted(t *testing.T) {
	r := storagetest.S3(t)
	s := openTest(t, r)
	create(t, s, "k", 1)
	err := s.Create(t.Context(), "k", bytes.NewReader(make([]byte, 11<<20)), storage.Attrs{})
	if !errors.Is(err, storage.ErrExists) {
		t.Errorf("got %v", err)
	}
	wantNoUploads(t, s)

	// A service may keep a part that is in transit when its upload is aborted, so the other
	// parts arrive before one is refused.
	var others sync.WaitGroup
	others.Add(2)
	arrived := map[string]func(){"1": sync.OnceFunc(others.Done), "3": sync.OnceFunc(others.Done)} // a part may be sent again
	bad := openTest(t, r.Proxy(t, func(w http.ResponseWriter, req *http.Request, next http.Handler) {
		switch part := req.URL.Query().Get("partNumber"); part {
		case "":
			next.ServeHTTP(w, req)
		case "2":
			io.Copy(io.Discard, req.Body)
			others.Wait()
			refuse(w, 400, "InvalidPart", "no")
		default:
			defer arrived[part]()
			next.ServeHTTP(w, req)
		}
	}))
	if err := bad.Create(t.Context(), "k2", bytes.NewReader(make([]byte, 11<<20)), storage.Attrs{}); err == nil {
		t.Error("created without a part")
	}
	wantNoUploads(t, s)
}

// TestLostAnswer: the SDK repeats a put that succeeded, and the second attempt reports
// that the object exists. It does, and holds our content.
func TestLostAnswer(t *testing.T) {
	var lost atomic.Bool
	r := storagetest.S3(t).Proxy(t, func(w http.ResponseWriter, req *http.Request, next http.Handler) {
		if isPut(req) && lost.CompareAndSwap(false, true) {
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

func TestThrottled(t *testing.T) {
	var n atomic.Int32
	r := storagetest.S3(t).Proxy(t, func(w http.ResponseWriter, req *http.Request, next http.Handler) {
		if n.Add(1)%3 != 0 {
			io.Copy(io.Discard, req.Body)
			refuse(w, 503, "SlowDown", "Please reduce your request rate")
			return
		}
		next.ServeHTTP(w, req)
	})
	create(t, openTest(t, r), "k", 10)
}

// TestPlainRequests: compatible services refuse the checksum trailers that the
// SDK sends by default.
func TestPlainRequests(t *testing.T) {
	r := storagetest.S3(t).Proxy(t, func(w http.ResponseWriter, req *http.Request, next http.Handler) {
		for name, values := range req.Header {
			name = strings.ToLower(name)
			if strings.HasPrefix(name, "x-amz-checksum") || name == "x-amz-trailer" || name == "x-amz-sdk-checksum-algorithm" || strings.Contains(fmt.Sprint(values), "aws-chunked") {
				t.Errorf("%s %s has %s: %s", req.Method, req.URL, name, values)
			}
		}
		next.ServeHTTP(w, req)
	})
	s := openTest(t, r)
	for name, size := range sizes {
		create(t, s, name, size)
	}
}

// TestNoBulkDelete: Google's S3 API has no DeleteObjects.
func TestNoBulkDelete(t *testing.T) {
	var bulk atomic.Int32
	r := storagetest.S3(t).Proxy(t, func(w http.ResponseWriter, req *http.Request, next http.Handler) {
		if req.URL.Query().Has("delete") {
			bulk.Add(1)
			refuse(w, 501, "NotImplemented", "no")
			return
		}
		next.ServeHTTP(w, req)
	})
	s := openTest(t, r)
	for range 2 {
		create(t, s, "a", 1)
		create(t, s, "b", 1)
		if err := s.Delete(t.Context(), "a", "b", "c"); err != nil {
			t.Fatal(err)
		}
		for o := range s.List(t.Context(), "", "") {
			t.Errorf("%s is still there", o.Key)
		}
	}
	if bulk.Load() != 1 {
		t.Errorf("asked %d times for what is not there", bulk.Load())
	}
}

func TestDeleteReportsKeys(t *testing.T) {
	r := storagetest.S3(t).Proxy(t, func(w http.ResponseWriter, req *http.Request, next http.Handler) {
		io.WriteString(w, `<DeleteResult><Error><Key>app/a</Key><Code>AccessDenied</Code><Message>locked</Message></Error>`+
			`<Error><Key>app/b</Key><Code>AccessDenied</Code><Message>locked</Message></Error></DeleteResult>`)
	})
	err := openTest(t, r).Delete(t.Context(), "a", "b", "c")
	var e *storage.Error
	if !errors.Is(err, storage.ErrPermission) || !errors.As(err, &e) || e.Key != "a" || !strings.Contains(err.Error(), "1 more") {
		t.Errorf("got %v", err)
	}
}

// TestListStrict: the store notices a service that lists in another order, and corrects
// one that ignores StartAfter.
func TestListStrict(t *testing.T) {
	answer := func(keys ...string) *Store {
		return openTest(t, storagetest.S3(t).Proxy(t, func(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
			io.WriteString(w, "<ListBucketResult>")
			for _, k := range keys {
				fmt.Fprintf(w, "<Contents><Key>app/%s</Key><Size>1</Size></Contents>", k)
			}
			io.WriteString(w, "</ListBucketResult>")
		}))
	}
	var got []string
	for o, err := range answer("", "a", "b", "c").List(t.Context(), "", "a") {
		got = append(got, o.Key)
		if err != nil {
			t.Error(err)
		}
	}
	if fmt.Sprint(got) != "[b c]" {
		t.Errorf("got %q", got)
	}
	var err error
	for _, err = range answer("b", "a").List(t.Context(), "", "") {
	}
	if err == nil || !strings.Contains(err.Error(), "in order") {
		t.Errorf("got %v", err)
	}
}

func TestSmallPages(t *testing.T) {
	s := openTest(t, storagetest.S3(t))
	s.pageSize = 3
	for i := range 10 {
		create(t, s, fmt.Sprint(i), 1)
	}
	n := 0
	for o, err := range s.List(t.Context(), "", "1") {
		if err != nil {
			t.Fatal(err)
		}
		n++
		if o.Key != fmt.Sprint(n+1) || time.Since(o.ModTime).Abs() > time.Hour {
			t.Errorf("%d: %+v", n, o)
		}
	}
	if n != 8 {
		t.Errorf("listed %d", n)
	}
}

func TestWrongRegion(t *testing.T) {
	r := storagetest.S3(t).Proxy(t, func(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
		w.Header().Set("X-Amz-Bucket-Region", "eu-north-1")
		refuse(w, 301, "PermanentRedirect", "elsewhere")
	})
	err := openTest(t, r).Delete(t.Context(), "k")
	if err == nil || !strings.Contains(err.Error(), "region=eu-north-1") {
		t.Errorf("got %v", err)
	}
}

// TestStartAfter: the service skips keys outside the request.
func TestStartAfter(t *testing.T) {
	var lists atomic.Int32
	s := openTest(t, storagetest.S3(t).Proxy(t, func(w http.ResponseWriter, req *http.Request, next http.Handler) {
		if req.URL.Query().Has("list-type") {
			lists.Add(1)
		}
		next.ServeHTTP(w, req)
	}))
	s.pageSize = 3
	for i := range 10 {
		create(t, s, fmt.Sprint(i), 1)
	}
	for o, err := range s.List(t.Context(), "", "8") {
		if err != nil || o.Key != "9" {
			t.Errorf("got %q, %v", o.Key, err)
		}
	}
	if lists.Load() != 1 {
		t.Errorf("%d requests for one key", lists.Load())
	}
}
