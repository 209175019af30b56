package s3

import (
	"fmt"
	"sync"
	"testing"

	"github.com/walvfs/walvfs/shipper/storage"
)

// TestShared: stores share a client if, and only if, their configuration is the same.
func TestShared(t *testing.T) {
	clearEnv(t)
	unsetenv(t, "AWS_ENDPOINT_URL")
	unsetenv(t, "AWS_ENDPOINT_URL_S3")
	base := storage.Options{Endpoint: "http://127.0.0.1:1", Region: "r", AccessKeyID: "id", SecretAccessKey: "secret"}
	with := func(change func(*storage.Options)) storage.Options {
		o := base
		change(&o)
		return o
	}
	for _, c := range []struct {
		name string
		url  string
		opts storage.Options
		same bool
	}{
		{"Path", "s3://b/other", base, true},
		{"Bucket", "s3://other/p", base, true},
		{"Unconditional", "s3://b/p", with(func(o *storage.Options) { o.Unconditional = true }), true},
		{"Query", "s3://b/p?endpoint=http://127.0.0.1:1&region=r", with(func(o *storage.Options) { o.Endpoint, o.Region = "", "" }), true},
		{"Endpoint", "s3://b/p", with(func(o *storage.Options) { o.Endpoint = "http://127.0.0.1:2" }), false},
		{"Region", "s3://b/p", with(func(o *storage.Options) { o.Region = "other" }), false},
		{"Style", "s3://b/p?force-path-style=false", base, false},
		{"Key", "s3://b/p", with(func(o *storage.Options) { o.AccessKeyID = "other" }), false},
		{"Secret", "s3://b/p", with(func(o *storage.Options) { o.SecretAccessKey = "other" }), false},
		{"NoKey", "s3://b/p", with(func(o *storage.Options) { o.AccessKeyID, o.SecretAccessKey = "", "" }), false},
	} {
		t.Run(c.name, func(t *testing.T) {
			one := mustOpen(t, "s3://b/p", base)
			two := mustOpen(t, c.url, c.opts)
			if same := one.client == two.client; same != c.same {
				t.Errorf("the same client: %v, want %v", same, c.same)
			}
		})
	}
}

func mustOpen(t *testing.T, rawURL string, opts storage.Options) *Store {
	t.Helper()
	s, err := openURL(t, rawURL, opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// TestEnvironment: a client uses the environment of the time when it is built. After the
// last store is closed, the next one builds a new client.
func TestEnvironment(t *testing.T) {
	clearEnv(t)
	region := func(s *Store) string { return s.client.Options().Region }
	t.Setenv("AWS_REGION", "first")
	one := mustOpen(t, "s3://b/p", storage.Options{})
	t.Setenv("AWS_REGION", "second")
	two := mustOpen(t, "s3://b/p", storage.Options{})
	if region(one) != "first" || region(two) != "first" {
		t.Errorf("regions %s, %s", region(one), region(two))
	}
	one.Close()
	two.Close()
	if s := mustOpen(t, "s3://b/p", storage.Options{}); region(s) != "second" {
		t.Errorf("region %s after the last Close", region(s))
	}
}

// TestOpenFails: a failure is not remembered, and leaves no share of a client.
func TestOpenFails(t *testing.T) {
	for name, c := range map[string]struct{ url, env, bad, good string }{
		"Configuration": {"s3://b/p", "AWS_CA_BUNDLE", t.TempDir() + "/none", ""},
		"Endpoint":      {"s3://b.r2.cloudflarestorage.com/p", "AWS_ENDPOINT_URL_S3", "", "http://127.0.0.1:1"},
	} {
		t.Run(name, func(t *testing.T) {
			clearEnv(t)
			t.Setenv(c.env, c.bad)
			if c.bad == "" {
				unsetenv(t, "AWS_ENDPOINT_URL")
				unsetenv(t, c.env)
			}
			if s, err := openURL(t, c.url, storage.Options{}); err == nil {
				s.Close()
				t.Fatal("opened all the same")
			}
			t.Setenv(c.env, c.good)
			one := mustOpen(t, c.url, storage.Options{})
			one.Close()
			if two := mustOpen(t, c.url, storage.Options{}); two.client == one.client {
				t.Error("the client was kept after the last Close")
			}
		})
	}
}

// TestOpenAtOnce: stores opened at the same time build one client.
func TestOpenAtOnce(t *testing.T) {
	clearEnv(t)
	stores := make([]*Store, 16)
	var wg sync.WaitGroup
	for i := range stores {
		wg.Go(func() { stores[i], _ = openURL(t, fmt.Sprintf("s3://b/%d", i), storage.Options{}) })
	}
	wg.Wait()
	for _, s := range stores {
		if s == nil || s.client != stores[0].client {
			t.Fatal("not one client")
		}
		s.Close()
	}
}
