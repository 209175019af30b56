package s3

import (
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/walvfs/walvfs/shipper/storage"
	"github.com/walvfs/walvfs/shipper/storage/storagetest"
)

// TestRotation: after credentials were replaced in their file and a request was refused,
// the next request uses the new ones.
func TestRotation(t *testing.T) {
	for code, status := range map[string]int{"InvalidAccessKeyId": 403, "ExpiredToken": 400, "SignatureDoesNotMatch": 403, "AccessDenied": 403, "Unauthorized": 401} {
		t.Run(code, func(t *testing.T) {
			clearEnv(t)
			for _, name := range []string{"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"} {
				unsetenv(t, name)
			}
			file := filepath.Join(t.TempDir(), "credentials")
			t.Setenv("AWS_SHARED_CREDENTIALS_FILE", file)
			rotate := func(id string) {
				t.Helper()
				text := "[default]\naws_access_key_id = " + id + "\naws_secret_access_key = s\naws_session_token = t-" + id + "\n"
				if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			var valid atomic.Value
			r := storagetest.S3(t).Proxy(t, func(w http.ResponseWriter, req *http.Request, next http.Handler) {
				id := valid.Load().(string)
				if !strings.Contains(req.Header.Get("Authorization"), "Credential="+id+"/") || req.Header.Get("X-Amz-Security-Token") != "t-"+id {
					io.Copy(io.Discard, req.Body)
					refuse(w, status, code, "no")
					return
				}
				req.Header.Del("X-Amz-Security-Token")
				next.ServeHTTP(w, req)
			})
			r.Options.AccessKeyID, r.Options.SecretAccessKey = "", ""
			rotate("OLD")
			valid.Store("OLD")
			s, other := openTest(t, r), openTest(t, r)
			create(t, s, "a", 1)
			create(t, other, "b", 1)
			rotate("NEW")
			create(t, s, "c", 1) // the old credentials are used until they are refused
			valid.Store("NEW")
			err := s.Create(t.Context(), "d", strings.NewReader("x"), storage.Attrs{})
			if !errors.Is(err, storage.ErrPermission) {
				t.Fatalf("with old credentials: %v", err)
			}
			create(t, s, "d", 1)
			create(t, other, "e", 1) // the other store shares the new credentials
		})
	}
}

// TestKeysOfOptions: keys in the options exclude all others.
func TestKeysOfOptions(t *testing.T) {
	clearEnv(t)
	t.Setenv("AWS_ACCESS_KEY_ID", "env")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "env")
	s := mustOpen(t, "s3://b/p", storage.Options{AccessKeyID: "id", SecretAccessKey: "secret"})
	s.refused()
	c, err := s.provider.Retrieve(t.Context())
	if err != nil || c.AccessKeyID != "id" {
		t.Errorf("key %q, %v", c.AccessKeyID, err)
	}
}
