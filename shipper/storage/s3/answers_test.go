package s3

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/walvfs/walvfs/shipper/storage"
	"github.com/walvfs/walvfs/shipper/storage/internal/driver"
)

// openFake opens a replica at a server with unrealistic answers.
func openFake(t *testing.T, handle http.HandlerFunc) *Store {
	t.Helper()
	return openFakeWith(t, "", storage.Options{}, handle)
}

func openFakeWith(t *testing.T, query string, opts storage.Options, handle http.HandlerFunc) *Store {
	t.Helper()
	clearEnv(t)
	server := httptest.NewServer(handle)
	t.Cleanup(server.Close)
	opts.Endpoint, opts.AccessKeyID, opts.SecretAccessKey = server.URL, "a", "b"
	s := mustOpen(t, "s3://b/app"+query, opts)
	s.putMax, s.partSize = 5<<20, 5<<20
	return s
}

func newGuard(t *testing.T) *driver.Guard {
	g := driver.NewGuard(t.Context(), driver.Patience)
	t.Cleanup(g.Stop)
	return g
}

func listErr(t *testing.T, s *Store) (keys []string, err error) {
	for o, err := range s.List(t.Context(), "ltx/", "") {
		if err != nil {
			return keys, err
		}
		keys = append(keys, o.Key)
	}
	return keys, nil
}

const (
	loginPage = `<!DOCTYPE html><html><head><title>Sign in</title></head><body>Welcome to the hotel</body></html>`
	listing   = `<?xml version="1.0"?><ListBucketResult><Name>b</Name>%s</ListBucketResult>`
	object    = `<Contents><Key>app/ltx/%d</Key><Size>1</Size></Contents>`
)

// TestForeignAnswer: an answer that is not the service's is an error, and never an empty
// replica, a missing object, or a successful create.
func TestForeignAnswer(t *testing.T) {
	for name, body := range map[string]string{
		"Empty": "", "HTML": loginPage, "Text": "OK", "JSON": "{}", "XML": `<?xml version="1.0"?><Answer/>`,
		"HalfXML": `<?xml version="1.0"?><ListBuck`,
	} {
		t.Run(name, func(t *testing.T) {
			s := openFake(t, func(w http.ResponseWriter, req *http.Request) {
				io.Copy(io.Discard, req.Body)
				io.WriteString(w, body)
			})
			_, listErr := listErr(t, s)
			_, _, openErr := s.Open(t.Context(), "k", 0, -1)
			_, _, headErr := s.Open(t.Context(), "k", 0, 0)
			for op, err := range map[string]error{
				"list":  listErr,
				"open":  openErr,
				"head":  headErr,
				"put":   s.Create(t.Context(), "k", strings.NewReader("x"), storage.Attrs{}),
				"parts": s.Create(t.Context(), "k", bytes.NewReader(make([]byte, 6<<20)), storage.Attrs{}),
			} {
				if err == nil || errors.Is(err, storage.ErrNotExist) || storage.Refused(err) {
					t.Errorf("%s: %v", op, err)
				}
				// The SDK itself finds half a document in the answer to a put.
				if name != "HalfXML" && (!errors.Is(err, driver.ErrForeign) || !strings.Contains(err.Error(), "proxy")) {
					t.Errorf("%s: %v", op, err)
				}
			}
		})
	}
}

// TestBrokenListing: a truncated listing, or another replica's, is not a small replica.
func TestBrokenListing(t *testing.T) {
	truncated := func(more string) string { return fmt.Sprintf(listing, "<IsTruncated>true</IsTruncated>"+more) }
	token := func(token string) string { return "<NextContinuationToken>" + token + "</NextContinuationToken>" }
	for _, c := range []struct {
		name  string
		pages []string // the last page is repeated
		keys  int
		want  string // of the error
	}{
		{"Whole", []string{truncated(fmt.Sprintf(object, 1) + token("a")), fmt.Sprintf(listing, fmt.Sprintf(object, 2))}, 2, ""},
		{"NoToken", []string{truncated(fmt.Sprintf(object, 1))}, 1, "no continuation token"},
		{"SamePage", []string{truncated(fmt.Sprintf(object, 1) + token("a"))}, 1, "in order"},
		{"SameToken", []string{truncated(token("a"))}, 0, "repeats a"},
		{"TwoTokens", []string{truncated(token("a")), truncated(token("b")), truncated(token("a"))}, 0, "repeats a"},
		{"OtherPrefix", []string{fmt.Sprintf(listing, "<Contents><Key>other/ltx/1</Key></Contents>")}, 0, "not below"},
		{"Marker", []string{fmt.Sprintf(listing, "<Contents><Key>app/</Key></Contents>"+fmt.Sprintf(object, 1))}, 1, ""},
		{"HalfAnswer", []string{strings.TrimSuffix(fmt.Sprintf(listing, fmt.Sprintf(object, 1)), "</ListBucketResult>")}, 0, "XML"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var n atomic.Int32
			s := openFake(t, func(w http.ResponseWriter, _ *http.Request) {
				i := int(n.Add(1)) - 1
				if i > 10 {
					panic(http.ErrAbortHandler) // for ever
				}
				io.WriteString(w, c.pages[min(i, len(c.pages)-1)])
			})
			keys, err := listErr(t, s)
			if len(keys) != c.keys || (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %q, %v, want %d keys, %q", keys, err, c.keys, c.want)
			}
			if storage.Refused(err) {
				t.Errorf("it may pass: %v", err)
			}
		})
	}
}

// TestRefusedOnce: the client sends a rejected request once, and marks its error.
func TestRefusedOnce(t *testing.T) {
	for _, c := range []struct {
		status int
		code   string
		want   error
	}{
		{400, "InvalidRequest", storage.ErrRefused},
		{400, "InvalidArgument", storage.ErrRefused},
		{403, "AccessDenied", storage.ErrPermission},
		{403, "InvalidObjectState", storage.ErrRefused},
		{401, "Unauthorized", storage.ErrPermission},
		{400, "ExpiredToken", storage.ErrPermission},
		{404, "NoSuchBucket", storage.ErrNoBucket},
		{405, "MethodNotAllowed", storage.ErrRefused},
		{301, "PermanentRedirect", storage.ErrRefused},
	} {
		t.Run(c.code, func(t *testing.T) {
			var n atomic.Int32
			s := openFake(t, func(w http.ResponseWriter, req *http.Request) {
				n.Add(1)
				io.Copy(io.Discard, req.Body)
				refuse(w, c.status, c.code, "no")
			})
			_, listErr := listErr(t, s)
			_, _, openErr := s.Open(t.Context(), "k", 0, -1)
			for op, err := range map[string]error{
				"list":   listErr,
				"open":   openErr,
				"create": s.Create(t.Context(), "k", strings.NewReader("x"), storage.Attrs{}),
				"delete": s.Delete(t.Context(), "k"),
			} {
				if !errors.Is(err, c.want) || !storage.Refused(err) {
					t.Errorf("%s: %v", op, err)
				}
			}
			if n.Load() != 4 {
				t.Errorf("%d requests for 4 operations", n.Load())
			}
		})
	}
}

// TestPasses: errors that may be transient are not marked as refused.
func TestPasses(t *testing.T) {
	t.Setenv("AWS_MAX_ATTEMPTS", "1")
	for code, status := range map[string]int{"SlowDown": 503, "InternalError": 500, "RequestTimeout": 400, "BadDigest": 400, "TooManyRequests": 429} {
		s := openFake(t, func(w http.ResponseWriter, req *http.Request) {
			io.Copy(io.Discard, req.Body)
			refuse(w, status, code, "no")
		})
		if err := s.Create(t.Context(), "k", strings.NewReader("x"), storage.Attrs{}); err == nil || storage.Refused(err) {
			t.Errorf("%s: %v", code, err)
		}
	}
}

// TestLastByteWaits: the service has an object except for its last byte while the object
// may not be created yet, and a refusal ends the request for good.
func TestLastByteWaits(t *testing.T) {
	const size = 10_000
	refusal := errors.New("disk failed")
	for _, err := range []error{nil, refusal} {
		var requests atomic.Int32
		arrived, whole := make(chan struct{}), make(chan error, 1)
		s := openFake(t, func(w http.ResponseWriter, r *http.Request) {
			requests.Add(1)
			if _, err := io.CopyN(io.Discard, r.Body, size-1); err == nil {
				close(arrived)
			}
			_, err := io.ReadFull(r.Body, make([]byte, 1))
			whole <- err
			w.Header().Set("ETag", `"x"`)
		})
		got := s.Create(t.Context(), "k", bytes.NewReader(make([]byte, size)), storage.Attrs{Ready: func() error {
			<-arrived
			return err
		}})
		if !errors.Is(got, err) || (got == nil) != (err == nil) {
			t.Errorf("got %v, want %v", got, err)
		}
		if werr := <-whole; (werr == nil) != (err == nil) || requests.Load() != 1 {
			t.Errorf("%v: the last byte came: %v; %d requests", err, werr == nil, requests.Load())
		}
	}
}
