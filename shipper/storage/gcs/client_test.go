package gcs

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"testing"

	"github.com/walvfs/walvfs/shipper/storage"
	"github.com/walvfs/walvfs/shipper/storage/storagetest"
)

// TestShared: stores share a client if, and only if, their configuration is the same.
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

// TestCredentialsLater: a failed search for credentials is retried.
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

// TestOneSearch: only this package searches for credentials, and only if requests carry
// some. The SDK would query Google's metadata server, too.
func TestOneSearch(t *testing.T) {
	unsetenv(t, "STORAGE_EMULATOR_HOST")
	file := filepath.Join(t.TempDir(), "credentials.json")
	user := `{"type": "authorized_user", "client_id": "id", "client_secret": "secret", "refresh_token": "token"}`
	if err := os.WriteFile(file, []byte(user), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("GOOGLE_APPLICATION_CREDENTIALS", file)
	for _, authorize := range []bool{false, true} {
		c, err := connect(service{"http://127.0.0.1:1"}, authorize)
		if err != nil {
			t.Fatal(err)
		}
		defer c.close()
		if (c.credentials != nil) != authorize {
			t.Errorf("authorize=%v: credentials are %v", authorize, c.credentials)
		}
		if found := reflect.ValueOf(c.sdk).Elem().FieldByName("creds"); !found.IsNil() {
			t.Errorf("authorize=%v: the SDK has searched for credentials", authorize)
		}
	}
}

// TestClosed: a closed store opens no client that nothing would close.
func TestClosed(t *testing.T) {
	s := storagetest.GCS(t).Open(t)
	s.Close()
	if err := s.Delete(t.Context(), "k"); !errors.Is(err, fs.ErrClosed) {
		t.Errorf("got %v", err)
	}
}
