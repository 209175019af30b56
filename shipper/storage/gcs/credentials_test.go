package gcs

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/walvfs/walvfs/shipper/storage"
	"github.com/walvfs/walvfs/shipper/storage/internal/driver"
	"github.com/walvfs/walvfs/shipper/storage/storagetest"
)

// TestRotation: after credentials were replaced in their file and a request was refused,
// the next request uses the new ones.
func TestRotation(t *testing.T) {
	unsetenv(t, "STORAGE_EMULATOR_HOST")
	file := filepath.Join(t.TempDir(), "credentials.json")
	t.Setenv("GOOGLE_APPLICATION_CREDENTIALS", file)
	var valid atomic.Value
	r := storagetest.GCS(t).Proxy(t, func(w http.ResponseWriter, req *http.Request, next http.Handler) {
		if account, ok := strings.CutPrefix(req.URL.Path, "/token/"); ok {
			w.Header().Set("Content-Type", "application/json")
			io.WriteString(w, `{"access_token":"`+account+`","token_type":"Bearer","expires_in":3600}`)
			return
		}
		if req.Header.Get("Authorization") != "Bearer "+valid.Load().(string) {
			io.Copy(io.Discard, req.Body)
			refuse(w, 401, "Invalid Credentials")
			return
		}
		next.ServeHTTP(w, req)
	})
	key := privateKey(t)
	rotate := func(account string) {
		t.Helper()
		text, err := json.Marshal(map[string]string{
			"type": "service_account", "client_email": account + "@example.com", "private_key_id": account, "private_key": key,
			"token_uri": r.Endpoint + "/token/" + account,
		})
		if err == nil {
			err = os.WriteFile(file, text, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	rotate("old")
	valid.Store("old")
	s := openTest(t, r)
	s.lease.End()
	pool := driver.NewPool(func(svc service) (*client, error) { return connect(svc, true) }, (*client).close)
	s.lease = pool.Lease(service{s.endpoint}) // from a pool that sends tokens unencrypted
	create := func(name string) error {
		return s.Create(t.Context(), name, strings.NewReader("x"), storage.Attrs{})
	}
	if err := create("a"); err != nil {
		t.Fatal(err)
	}
	rotate("new")
	if err := create("b"); err != nil { // the old credentials are used until they are refused
		t.Fatal(err)
	}
	valid.Store("new")
	if err := create("c"); !errors.Is(err, storage.ErrPermission) {
		t.Fatalf("with old credentials: %v", err)
	}
	if err := create("c"); err != nil {
		t.Errorf("with new credentials: %v", err)
	}
}

func privateKey(t *testing.T) string {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
}
