package storagetest

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/walvfs/walvfs/shipper/storage"
)

// Replica is an empty location for the replica of one test.
type Replica struct {
	URL     string          // the replica's
	Options storage.Options // what [storage.Open] needs besides the URL

	// Env holds the same as environment variables, "NAME=value", for programs that take only
	// the URL, such as Litestream. [Replica.Setenv] sets it.
	Env []string

	// Endpoint is the server's base URL, empty for files.
	Endpoint string
}

// Setenv makes the URL alone sufficient until the test ends. Parallel tests cannot use
// it.
func (r *Replica) Setenv(t testing.TB) {
	for _, kv := range r.Env {
		name, value, _ := strings.Cut(kv, "=")
		t.Setenv(name, value)
	}
}

// Open opens the replica's store, which is closed when the test ends. The
// scheme's driver must be linked in.
func (r *Replica) Open(t testing.TB) storage.Store {
	t.Helper()
	store, err := storage.Open(t.Context(), r.URL, r.Options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { store.Close() })
	return store
}

// File returns a replica in a temporary directory.
func File(t testing.TB) *Replica {
	return &Replica{URL: "file://" + filepath.ToSlash(filepath.Join(t.TempDir(), "app"))}
}

// S3 returns a replica in a fresh bucket of an S3 server.
func S3(t testing.TB) *Replica {
	t.Helper()
	s, err := s3Server()
	if err != nil {
		t.Fatal(err)
	}
	bucket := "walvfs-" + strings.ToLower(rand.Text())
	if err := s.createBucket(bucket); err != nil {
		t.Fatalf("creating a bucket: %v", err)
	}
	return s.replica(bucket, "http://"+s.addr)
}

type s3Instance struct {
	*server
	keyID, secret string
}

const s3Region = "us-east-1"

var s3Server = sync.OnceValues(func() (*s3Instance, error) {
	i := &s3Instance{keyID: rand.Text(), secret: rand.Text()}
	args := func(addr, dir string) []string {
		// A file system without extended attributes needs a directory for them.
		extra := []string{}
		if !hasXattrs(dir) {
			extra = []string{"--sidecar", mustMkdir(dir, "meta")}
		}
		args := []string{"--port", addr, "--region", s3Region, "--quiet", "--keep-alive", "posix"}
		return append(append(args, extra...), mustMkdir(dir, "buckets"))
	}
	var err error
	i.server, err = spec{
		tool: versitygw,
		args: args,
		env:  []string{"ROOT_ACCESS_KEY_ID=" + i.keyID, "ROOT_SECRET_ACCESS_KEY=" + i.secret},
		// Only our own server accepts the keys.
		ready: func(s *server) error { i.server = s; return i.createBucket("walvfs-ready") },
	}.start()
	return i, err
})

func (i *s3Instance) replica(bucket, endpoint string) *Replica {
	return &Replica{
		URL:      "s3://" + bucket + "/app",
		Endpoint: endpoint,
		Options:  storage.Options{Endpoint: endpoint, Region: s3Region, AccessKeyID: i.keyID, SecretAccessKey: i.secret},
		Env: []string{
			"AWS_ACCESS_KEY_ID=" + i.keyID,
			"AWS_SECRET_ACCESS_KEY=" + i.secret,
			"AWS_SESSION_TOKEN=",
			"AWS_REGION=" + s3Region,
			"AWS_ENDPOINT_URL_S3=" + endpoint,
			"LITESTREAM_S3_ENDPOINT=" + endpoint,
			// Litestream's S3 client does not start with this set.
			"AWS_CA_BUNDLE=",
		},
	}
}

func (i *s3Instance) createBucket(name string) error {
	req, err := http.NewRequest(http.MethodPut, "http://"+i.addr+"/"+name, nil)
	if err != nil {
		return err
	}
	i.sign(req)
	return expect(req, http.StatusOK, http.StatusConflict)
}

// GCS returns a replica in a fresh bucket of a Google Cloud Storage server.
func GCS(t testing.TB) *Replica {
	t.Helper()
	s, err := gcsServer()
	if err != nil {
		t.Fatal(err)
	}
	bucket := "walvfs-" + strings.ToLower(rand.Text())
	body, _ := json.Marshal(map[string]string{"name": bucket})
	req, err := http.NewRequest(http.MethodPost, "http://"+s.addr+"/storage/v1/b?project=test", bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	if err := expect(req, http.StatusOK); err != nil {
		t.Fatalf("creating a bucket: %v", err)
	}
	endpoint := "http://" + s.addr
	return &Replica{
		URL:      "gs://" + bucket + "/app",
		Endpoint: endpoint,
		Options:  storage.Options{Endpoint: endpoint},
		Env:      []string{"STORAGE_EMULATOR_HOST=" + endpoint},
	}
}

var gcsServer = sync.OnceValues(func() (*server, error) {
	// Google's libraries query the network once per process for whether it runs in their
	// cloud. A late answer leaves a connection, which looks like a leak.
	os.Setenv("GCE_METADATA_HOST", "127.0.0.1:1")
	return spec{
		tool: fakeGCS,
		args: func(addr, dir string) []string {
			host, port, _ := net.SplitHostPort(addr)
			// Downloads are matched by the public host, resumable uploads continue at the external
			// URL.
			return []string{"-backend", "memory", "-scheme", "http", "-host", host, "-port", port,
				"-public-host", addr, "-external-url", "http://" + addr}
		},
		ready: func(s *server) error {
			// Read its log, because another process may be listening on the port.
			if !strings.Contains(s.output(), "server started at") {
				return fmt.Errorf("not started")
			}
			req, _ := http.NewRequest(http.MethodGet, "http://"+s.addr+"/storage/v1/b?project=test", nil)
			return expect(req, http.StatusOK)
		},
	}.start()
})

// Litestream returns the path of a built litestream program.
func Litestream(t testing.TB) string {
	t.Helper()
	path, err := litestream.path()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// expect sends a request and leaves no connection open, which would look like a
// leak to the tests.
func expect(req *http.Request, codes ...int) error {
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 10 * time.Second}
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	body, _ := io.ReadAll(resp.Body)
	for _, code := range codes {
		if resp.StatusCode == code {
			return nil
		}
	}
	return fmt.Errorf("%s: %s", resp.Status, body)
}
