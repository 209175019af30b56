package s3

import (
	"bytes"
	"encoding/base64"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/walvfs/walvfs/shipper/storage"
	"github.com/walvfs/walvfs/shipper/storage/storagetest"
)

// An echo is a server that accepts every request and remembers headers by operation.
type echo struct {
	mu   sync.Mutex
	seen map[string]http.Header
}

func operation(req *http.Request) string {
	q := req.URL.Query()
	switch {
	case q.Has("list-type"):
		return "List"
	case q.Has("delete"):
		return "DeleteObjects"
	case q.Has("uploads"):
		return "CreateMultipartUpload"
	case q.Has("partNumber"):
		return "UploadPart"
	case q.Has("uploadId") && req.Method == http.MethodPost:
		return "CompleteMultipartUpload"
	case q.Has("uploadId"):
		return "AbortMultipartUpload"
	}
	return map[string]string{"PUT": "PutObject", "GET": "GetObject", "HEAD": "HeadObject", "DELETE": "DeleteObject"}[req.Method]
}

func (e *echo) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	io.Copy(io.Discard, req.Body)
	op := operation(req)
	e.mu.Lock()
	e.seen[op] = req.Header
	e.mu.Unlock()
	w.Header().Set("ETag", `"x"`)
	switch op {
	case "List":
		io.WriteString(w, "<ListBucketResult/>")
	case "DeleteObjects":
		io.WriteString(w, "<DeleteResult/>")
	case "CreateMultipartUpload":
		io.WriteString(w, "<InitiateMultipartUploadResult><UploadId>id</UploadId></InitiateMultipartUploadResult>")
	case "CompleteMultipartUpload":
		io.WriteString(w, "<CompleteMultipartUploadResult/>")
	}
}

// TestSettings: each request has the settings that it needs, and no other request does.
func TestSettings(t *testing.T) {
	key := bytes.Repeat([]byte{7}, 32)
	encoded := base64.StdEncoding.EncodeToString(key)
	file := func(content string) string {
		name := filepath.Join(t.TempDir(), "key")
		if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return name
	}
	all := []string{"List", "DeleteObjects", "DeleteObject", "PutObject", "GetObject", "HeadObject", "CreateMultipartUpload", "UploadPart", "CompleteMultipartUpload"}
	creates := []string{"PutObject", "CreateMultipartUpload"}
	objects := []string{"PutObject", "GetObject", "HeadObject", "CreateMultipartUpload", "UploadPart", "CompleteMultipartUpload"}
	type want struct {
		header, value string
		ops           []string
	}
	customer := []want{
		{"X-Amz-Server-Side-Encryption-Customer-Key", encoded, objects},
		{"X-Amz-Server-Side-Encryption-Customer-Algorithm", "AES256", objects},
		{"X-Amz-Server-Side-Encryption-Customer-Key-Md5", "y4HAEFCYWuvAXWFTtA1Qpg==", objects},
		{"X-Amz-Server-Side-Encryption", "", nil},
	}
	for _, c := range []struct {
		name, query, env string
		opts             storage.Options
		want             []want
	}{
		{name: "None", want: []want{
			{"X-Amz-Server-Side-Encryption", "", nil}, {"X-Amz-Storage-Class", "", nil}, {"X-Amz-Request-Payer", "", nil},
			{"X-Amz-Server-Side-Encryption-Customer-Key", "", nil},
		}},
		{name: "AES256", query: "?sse=AES256", want: []want{{"X-Amz-Server-Side-Encryption", "AES256", creates}}},
		{name: "KMS", query: "?sse-kms-key-id=alias/app", want: []want{
			{"X-Amz-Server-Side-Encryption", "aws:kms", creates}, {"X-Amz-Server-Side-Encryption-Aws-Kms-Key-Id", "alias/app", creates}}},
		{name: "Class", query: "?storage-class=STANDARD_IA", want: []want{{"X-Amz-Storage-Class", "STANDARD_IA", creates}}},
		{name: "Payer", query: "?request-payer=requester", want: []want{{"X-Amz-Request-Payer", "requester", all}}},
		{name: "KeyFile", query: "?sse-customer-key-path=" + file(encoded+"\n"), want: customer},
		{name: "RawKeyFile", opts: storage.Options{SSECustomerKeyPath: file(string(key))}, want: customer},
		{name: "KeyOption", opts: storage.Options{SSECustomerKey: encoded}, want: customer},
		{name: "KeyEnv", env: encoded, want: customer},
		{name: "EnvGivesWay", env: encoded, query: "?sse=aws:kms", want: []want{
			{"X-Amz-Server-Side-Encryption", "aws:kms", creates}, {"X-Amz-Server-Side-Encryption-Customer-Key", "", nil}}},
		{name: "OptionsFirst", query: "?storage-class=STANDARD_IA", opts: storage.Options{StorageClass: "ONEZONE_IA"},
			want: []want{{"X-Amz-Storage-Class", "ONEZONE_IA", creates}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Setenv(storage.EnvCustomerKey, c.env)
			e := &echo{seen: map[string]http.Header{}}
			s := openFakeWith(t, c.query, c.opts, e.ServeHTTP)
			s.condition = nil // skips the check of multipart uploads
			listErr(t, s)
			s.Delete(t.Context(), "a")
			s.Delete(t.Context(), "a", "b")
			s.put(newGuard(t), "k", strings.NewReader("x"), storage.Attrs{})
			s.upload(newGuard(t), "k", strings.NewReader("x"), storage.Attrs{})
			for _, length := range []int64{0, -1} {
				if r, _, err := s.Open(t.Context(), "k", 0, length); err != nil {
					t.Error(err)
				} else {
					r.Close()
				}
			}
			e.mu.Lock()
			defer e.mu.Unlock()
			for _, op := range all {
				if e.seen[op] == nil {
					t.Errorf("no %s", op)
				}
				for _, w := range c.want {
					value := ""
					for _, o := range w.ops {
						if o == op {
							value = w.value
						}
					}
					if got := e.seen[op].Get(w.header); got != value {
						t.Errorf("%s: %s is %q, want %q", op, w.header, got, value)
					}
				}
			}
		})
	}
}

// TestSettingsErrors: opening the store reports invalid settings, without the key.
func TestSettingsErrors(t *testing.T) {
	clearEnv(t)
	key := base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{7}, 32))
	for _, c := range []struct {
		query string
		opts  storage.Options
		want  string
	}{
		{query: "?sse=DES", want: "expected AES256"},
		{query: "?sse=AES256&sse-kms-key-id=k", want: "sse=aws:kms"},
		{query: "?sse-customer-key=" + key, want: "sse-customer-key-path=FILE"},
		{query: "?sse-customer-key-path=/none", want: "/none"},
		{query: "?sse=AES256", opts: storage.Options{SSECustomerKey: key}, want: "not both"},
		{query: "?sse-customer-key-path=/none", opts: storage.Options{SSECustomerKey: key}, want: "name one"},
		{opts: storage.Options{SSECustomerKey: "hunter2"}, want: "32 bytes in base64"},
		{opts: storage.Options{SSECustomerKey: "aHVudGVyMg=="}, want: "32 bytes in base64"},
		{opts: storage.Options{SSECustomerKey: key, Endpoint: "http://s3.example.com"}, want: "not sent over http"},
		{query: "?storage-class=GLACIER", want: "GLACIER_IR"},
		{query: "?request-payer=me", want: "expected requester"},
		{query: "?user-project=p", want: "request-payer=requester"},
	} {
		s, err := openURL(t, "s3://b/p"+c.query, c.opts)
		if err == nil {
			s.Close()
		}
		if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "hunter2") || strings.Contains(err.Error(), key) {
			t.Errorf("%s: got %v, want %q", c.query, err, c.want)
		}
	}
}

// TestDeniedHint: a refusal without a reason may come from a policy about encryption.
func TestDeniedHint(t *testing.T) {
	r := storagetest.S3(t).Proxy(t, func(w http.ResponseWriter, req *http.Request, next http.Handler) {
		if isPut(req) && req.Header.Get("X-Amz-Server-Side-Encryption") == "" {
			refuse(w, 403, "AccessDenied", "Access Denied")
			return
		}
		next.ServeHTTP(w, req)
	})
	err := openTest(t, r).Create(t.Context(), "k", strings.NewReader("x"), storage.Attrs{})
	if err == nil || !strings.Contains(err.Error(), "sse=AES256") {
		t.Errorf("got %v", err)
	}
	r.URL += "?sse=AES256"
	create(t, openTest(t, r), "k", 1)
}

// TestWantsChecksum: a bucket that locks objects by default demands a checksum, which the
// store then sends with each body.
func TestWantsChecksum(t *testing.T) {
	for name, size := range sizes {
		t.Run(name, func(t *testing.T) {
			var refusals atomic.Int32
			s := openTest(t, storagetest.S3(t).Proxy(t, func(w http.ResponseWriter, req *http.Request, next http.Handler) {
				if req.Method == http.MethodPut && req.Header.Get("Content-Md5") == "" {
					refusals.Add(1)
					io.Copy(io.Discard, req.Body)
					refuse(w, 400, "InvalidRequest", "Content-MD5 OR x-amz-checksum- HTTP header is required for Put Object requests with Object Lock parameters")
					return
				}
				next.ServeHTTP(w, req)
			}))
			create(t, s, "a", size)
			if refusals.Load() == 0 {
				t.Error("nothing was refused")
			}
			refusals.Store(0)
			create(t, s, "b", size)
			if n := refusals.Load(); n > 0 {
				t.Errorf("%d requests without a checksum", n)
			}
		})
	}
}

// TestUnsigned: a header that front ends change is not signed, but still sent.
func TestUnsigned(t *testing.T) {
	s := openTest(t, storagetest.S3(t).Proxy(t, func(w http.ResponseWriter, req *http.Request, next http.Handler) {
		if strings.Contains(req.Header.Get("Authorization"), "accept-encoding") || req.Header.Get("Accept-Encoding") != "identity" {
			t.Errorf("%s: Accept-Encoding %q, %s", operation(req), req.Header.Get("Accept-Encoding"), req.Header.Get("Authorization"))
		}
		next.ServeHTTP(w, req)
	}))
	create(t, s, "k", 1)
	create(t, s, "l", 6<<20)
	listErr(t, s)
	if r, _, err := s.Open(t.Context(), "k", 0, -1); err != nil {
		t.Error(err)
	} else {
		r.Close()
	}
}
