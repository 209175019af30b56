package gcs

import (
	"errors"
	"io/fs"
	"testing"

	"github.com/walvfs/walvfs/shipper/storage"
	"github.com/walvfs/walvfs/shipper/storage/storagetest"
)

// TestShared: stores have a client in common if, and only if, nothing that decides
// it differs.
func TestShared(t *testing.T) {
	const endpoint = "http://127.0.0.1:1"
	open := func(url string, opts storage.Options) *client {
		s := (&storagetest.Replica{URL: url, Options: opts}).Open(t).(*Store)
		c, err := s.lease.Client(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	base := open("gs://b/p", storage.Options{Endpoint: endpoint})
	for _, c := range []struct {
		url      string
		endpoint string
		same     bool
	}{
		{"gs://b/other", endpoint, true},
		{"gs://other/p", endpoint, true},
		{"gs://b/p?endpoint=" + endpoint, "", true},
		{"gs://b/p", "http://127.0.0.1:2", false},
	} {
		if same := open(c.url, storage.Options{Endpoint: c.endpoint}) == base; same != c.same {
			t.Errorf("%s at %q: the same client: %v, want %v", c.url, c.endpoint, same, c.same)
		}
	}
}

// TestCredentialsLater: a search for credentials that failed is tried again.
func TestCredentialsLater(t *testing.T) {
	unsetenv(t, "STORAGE_EMULATOR_HOST")
	t.Setenv("GOOGLE_APPLICATION_CREDENTIALS", t.TempDir()+"/none")
	r := storagetest.GCS(t)
	s := (&storagetest.Replica{URL: r.URL}).Open(t)
	if err := s.Delete(t.Context(), "k"); !errors.Is(err, storage.ErrPermission) {
		t.Fatalf("without credentials: %v", err)
	}
	r.Setenv(t)
	if err := s.Delete(t.Context(), "k"); err != nil {
		t.Errorf("with them: %v", err)
	}
}

// TestClosed: a store that is closed opens no client that nobody would close.
func TestClosed(t *testing.T) {
	s := storagetest.GCS(t).Open(t)
	s.Close()
	if err := s.Delete(t.Context(), "k"); !errors.Is(err, fs.ErrClosed) {
		t.Errorf("got %v", err)
	}
}
