package s3

import (
	"net/url"
	"testing"

	"github.com/walvfs/walvfs/shipper/storage"
)

// All spellings of one replica have one place, and buckets of the same name at two
// endpoints have two.
func TestPlace(t *testing.T) {
	t.Setenv("AWS_CA_BUNDLE", "")
	t.Setenv("AWS_ENDPOINT_URL_S3", "")
	place := func(rawURL string, opts storage.Options) string {
		u, err := url.Parse(rawURL)
		if err != nil {
			t.Fatal(err)
		}
		s, err := Open(t.Context(), u, opts)
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		return storage.Place(s)
	}
	seen := map[string][]string{}
	for _, same := range [][]struct {
		url  string
		opts storage.Options
	}{
		{{url: "s3://b/app"}, {url: "s3://b/app/"}, {url: "s3://b//x/../app"}, {url: "s3://b/%61pp?region=eu-west-1"}, {url: "s3://b.s3.eu-west-1.amazonaws.com/app"}},
		{{url: "s3://b/app2"}},
		{{url: "s3://b/app?endpoint=https://one.example.com"}, {url: "s3://b/app", opts: storage.Options{Endpoint: "https://one.example.com/"}}},
		{{url: "s3://b/app?endpoint=https://two.example.com"}},
		{{url: "s3://b/a%20b"}},
		{{url: "s3://b/a%2520b"}},
	} {
		for i, spelling := range same {
			p := place(spelling.url, spelling.opts)
			if i == 0 && seen[p] != nil || i > 0 && seen[p] == nil {
				t.Errorf("%s is at %s, which has %q", spelling.url, p, seen[p])
			}
			seen[p] = append(seen[p], spelling.url)
		}
	}
}

// What a probe finds about a bucket applies to all replicas in it, and to no bucket of
// the same name at another endpoint.
func TestBucket(t *testing.T) {
	clearEnv(t)
	bucket := func(rawURL string) string { return storage.Bucket(mustOpen(t, rawURL, storage.Options{})) }
	one := bucket("s3://b/app?endpoint=https://one.example.com")
	if other := bucket("s3://b/other?endpoint=https://one.example.com/"); other != one {
		t.Errorf("%s and %s", one, other)
	}
	for _, other := range []string{"s3://b/app?endpoint=https://two.example.com", "s3://b2/app?endpoint=https://one.example.com", "s3://b/app"} {
		if bucket(other) == one {
			t.Errorf("%s is in %s", other, one)
		}
	}
}
