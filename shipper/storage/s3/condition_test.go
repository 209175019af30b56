package s3

import (
	"errors"
	"net/http"
	"sync/atomic"
	"testing"

	"github.com/walvfs/walvfs/shipper/storage"
	"github.com/walvfs/walvfs/shipper/storage/storagetest"
)

// TestCompletion: PutObject and the completion of a multipart upload may differ. If only
// PutObject honours the condition, the store sends a large body with it.
func TestCompletion(t *testing.T) {
	type handler = func(w http.ResponseWriter, req *http.Request, next http.Handler)
	for _, c := range []struct {
		name   string
		handle handler
		parts  bool // the store uses parts
		known  bool // and checks the service only once
	}{
		{"Supported", func(w http.ResponseWriter, req *http.Request, next http.Handler) { next.ServeHTTP(w, req) }, true, true},
		{"Ignored", func(w http.ResponseWriter, req *http.Request, next http.Handler) {
			if isComplete(req) {
				req.Header.Del("If-None-Match")
			}
			next.ServeHTTP(w, req)
		}, false, true},
		{"Refused", func(w http.ResponseWriter, req *http.Request, next http.Handler) {
			if isComplete(req) && req.Header.Get("If-None-Match") != "" {
				refuse(w, 501, "NotImplemented", "A header you provided implies functionality that is not implemented")
				return
			}
			next.ServeHTTP(w, req)
		}, false, true},
		{"Lies", func(w http.ResponseWriter, req *http.Request, next http.Handler) {
			if !isComplete(req) {
				next.ServeHTTP(w, req)
				return
			}
			req.Header.Del("If-None-Match")
			next.ServeHTTP(discard{}, req)
			refuse(w, 412, "PreconditionFailed", "no")
		}, false, true},
		{"Forbidden", func(w http.ResponseWriter, req *http.Request, next http.Handler) {
			if isProbe(req) {
				refuse(w, 403, "AccessDenied", "no")
				return
			}
			next.ServeHTTP(w, req)
		}, false, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			var parts, probes atomic.Int32
			r := storagetest.S3(t)
			s := openTest(t, r.Proxy(t, func(w http.ResponseWriter, req *http.Request, next http.Handler) {
				switch {
				case !req.URL.Query().Has("uploads"):
				case isProbe(req):
					probes.Add(1)
				default:
					parts.Add(1)
				}
				c.handle(w, req, next)
			}))
			create(t, s, "a", 6<<20)
			create(t, s, "b", 6<<20)
			err := s.Create(t.Context(), "a", zeros(6<<20), storage.Attrs{})
			if !errors.Is(err, storage.ErrExists) {
				t.Errorf("created twice: %v", err)
			}
			if used := parts.Load() > 0; used != c.parts {
				t.Errorf("parts are used: %v", used)
			}
			if c.known && probes.Load() != 1 {
				t.Errorf("asked %d times", probes.Load())
			}
			for o, err := range openTest(t, r).List(t.Context(), storage.ProbePrefix, "") {
				t.Errorf("left behind: %v, %v", o, err)
			}
			wantNoUploads(t, openTest(t, r))
		})
	}
}

// discard drops answers.
type discard struct{}

func (discard) Header() http.Header         { return http.Header{} }
func (discard) Write(b []byte) (int, error) { return len(b), nil }
func (discard) WriteHeader(int)             {}

// TestTooLarge: the store does not send a body without the condition if only a multipart
// upload can send it.
func TestTooLarge(t *testing.T) {
	s := openTest(t, storagetest.S3(t).Proxy(t, func(w http.ResponseWriter, req *http.Request, next http.Handler) {
		if isComplete(req) {
			req.Header.Del("If-None-Match")
		}
		next.ServeHTTP(w, req)
	}))
	err := s.Create(t.Context(), "a", zeros(putLimit+1), storage.Attrs{})
	if !errors.Is(err, storage.ErrNoCondition) || !storage.Refused(err) {
		t.Errorf("got %v", err)
	}
}
