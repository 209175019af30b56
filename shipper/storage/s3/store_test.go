package s3

import (
	"bytes"
	"context"
	"encoding/pem"
	"errors"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/walvfs/walvfs/shipper/storage"
	"github.com/walvfs/walvfs/shipper/storage/storagetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(storagetest.WithTools(m)) }

// openTest opens a replica such that the suite's large bodies take several parts, of the
// smallest size that the service allows.
func openTest(t testing.TB, r *storagetest.Replica) *Store {
	t.Helper()
	s := r.Open(t).(*Store)
	s.putMax, s.partSize = 5<<20, 5<<20
	return s
}

func unsetenv(t *testing.T, name string) {
	t.Setenv(name, "") // so that the test restores it
	os.Unsetenv(name)
}

func TestStore(t *testing.T) {
	storagetest.Run(t, func(t *testing.T) storage.Store { return openTest(t, storagetest.S3(t)) })
}

// TestURLAlone opens a replica like the VFS and the command line.
func TestURLAlone(t *testing.T) {
	r := storagetest.S3(t)
	clearEnv(t)
	r.Setenv(t)
	s, err := openURL(t, r.URL, storage.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if err := s.Create(t.Context(), "k", bytes.NewReader(nil), storage.Attrs{}); err != nil {
		t.Fatal(err)
	}
}

func TestDenied(t *testing.T) {
	good := storagetest.S3(t)
	deny := func(change func(*storagetest.Replica), want error) func(*testing.T) {
		return func(t *testing.T) {
			clearEnv(t)
			r := *good
			change(&r)
			storagetest.RunDenied(t, r.Open(t), want, good.Options.SecretAccessKey, r.Options.SecretAccessKey)
		}
	}
	t.Run("Secret", deny(func(r *storagetest.Replica) { r.Options.SecretAccessKey = "wrongsecret" }, storage.ErrPermission))
	t.Run("Key", deny(func(r *storagetest.Replica) { r.Options.AccessKeyID = "unknown" }, storage.ErrPermission))
	t.Run("NoCredentials", deny(func(r *storagetest.Replica) {
		r.Options.AccessKeyID, r.Options.SecretAccessKey = "", ""
	}, storage.ErrPermission))
	t.Run("NoBucket", deny(func(r *storagetest.Replica) { r.URL = "s3://walvfs-no-such-bucket/app" }, storage.ErrNoBucket))
	for _, code := range []string{"AccessDenied", "ExpiredToken", "RequestTimeTooSkewed"} {
		t.Run(code, func(t *testing.T) {
			r := good.Proxy(t, func(w http.ResponseWriter, _ *http.Request, _ http.Handler) { refuse(w, 403, code, "no") })
			storagetest.RunDenied(t, r.Open(t), storage.ErrPermission, good.Options.SecretAccessKey)
		})
	}
}

func refuse(w http.ResponseWriter, status int, code, message string) {
	w.Header().Set("Content-Type", "application/xml")
	w.WriteHeader(status)
	io.WriteString(w, "<Error><Code>"+code+"</Code><Message>"+message+"</Message></Error>")
}

// TestCABundle: a client to which the SDK cannot add certificates would fail as soon as
// AWS_CA_BUNDLE is set.
func TestCABundle(t *testing.T) {
	clearEnv(t)
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		refuse(w, 404, "NoSuchBucket", "The bucket is not here")
	}))
	server.Config.ErrorLog = log.New(io.Discard, "", 0) // for the handshake that must fail
	server.StartTLS()
	defer server.Close()
	opts := storage.Options{Endpoint: server.URL, AccessKeyID: "a", SecretAccessKey: "b"}
	list := func() (err error) {
		s, err := openURL(t, "s3://b/p", opts)
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		for _, err = range s.List(t.Context(), "", "") {
		}
		return err
	}
	t.Setenv("AWS_MAX_ATTEMPTS", "1")
	if err := list(); err == nil || errors.Is(err, storage.ErrNoBucket) {
		t.Fatalf("an unknown certificate is trusted: %v", err)
	}
	file := filepath.Join(t.TempDir(), "ca.pem")
	cert := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	if err := os.WriteFile(file, cert, 0o644); err != nil {
		t.Fatal(err)
	}
	t.Setenv("AWS_CA_BUNDLE", file)
	if err := list(); !errors.Is(err, storage.ErrNoBucket) {
		t.Fatalf("with AWS_CA_BUNDLE: %v", err)
	}
}

// TestStall: the store gives up on a server that does not answer, and the error is not
// mistaken for the caller's own cancellation.
func TestStall(t *testing.T) {
	release := make(chan struct{})
	r := storagetest.S3(t).Proxy(t, func(_ http.ResponseWriter, req *http.Request, _ http.Handler) {
		io.Copy(io.Discard, req.Body)
		<-release
	})
	t.Cleanup(func() { close(release) })
	s := r.Open(t).(*Store)
	s.patience = 100 * time.Millisecond
	err := s.Create(t.Context(), "k", bytes.NewReader([]byte("x")), storage.Attrs{})
	if err == nil || errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), "no progress") {
		t.Errorf("Create: %v", err)
	}
	_, _, err = s.Open(t.Context(), "k", 0, -1)
	if err == nil || !strings.Contains(err.Error(), "no progress") {
		t.Errorf("Open: %v", err)
	}
}

// TestStallInBody: the store gives up on an answer that stops in the middle, but not on a
// slow reader.
func TestStallInBody(t *testing.T) {
	release := make(chan struct{})
	r := storagetest.S3(t).Proxy(t, func(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
		w.Header().Set("ETag", `"x"`)
		w.Header().Set("Content-Length", "100")
		io.WriteString(w, "half")
		w.(http.Flusher).Flush()
		<-release
	})
	t.Cleanup(func() { close(release) })
	s := r.Open(t).(*Store)
	s.patience = 100 * time.Millisecond
	body, _, err := s.Open(t.Context(), "k", 0, -1)
	if err != nil {
		t.Fatal(err)
	}
	defer body.Close()
	time.Sleep(2 * s.patience)
	got, err := io.ReadAll(body)
	var e *storage.Error
	if string(got) != "half" || !errors.As(err, &e) || !strings.Contains(err.Error(), "no progress") {
		t.Errorf("got %q, %v", got, err)
	}
}

// TestUnbuffered is invariant 6, Bounded: a body is never held in memory.
func TestUnbuffered(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		w.Header().Set("ETag", `"x"`)
		switch {
		case r.URL.Query().Has("uploads"):
			io.WriteString(w, "<InitiateMultipartUploadResult><UploadId>id</UploadId></InitiateMultipartUploadResult>")
		case r.Method == http.MethodPost:
			io.WriteString(w, "<CompleteMultipartUploadResult><ETag>x</ETag></CompleteMultipartUploadResult>")
		}
	}))
	defer server.Close()
	s, err := openURL(t, "s3://b/p", storage.Options{Endpoint: server.URL, AccessKeyID: "a", SecretAccessKey: "b"})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	completing.Store(s.Bucket(), true) // otherwise the store would not use parts
	for _, size := range []int64{putMax, putMax + 1, 3 * partSize} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		if err := s.Create(t.Context(), "k", zeros(size), storage.Attrs{}); err != nil {
			t.Fatal(err)
		}
		runtime.ReadMemStats(&after)
		if n := after.TotalAlloc - before.TotalAlloc; n > 8<<20 {
			t.Errorf("%d bytes sent: %d allocated", size, n)
		}
	}
}

type zeros int64

func (z zeros) Size() int64                           { return int64(z) }
func (z zeros) ReadAt(p []byte, _ int64) (int, error) { clear(p); return len(p), nil }
