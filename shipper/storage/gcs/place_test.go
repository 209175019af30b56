package gcs

import (
	"net/url"
	"testing"

	"github.com/walvfs/walvfs/shipper/storage"
)

// All spellings of one replica have one place, and buckets of the same name at two
// endpoints have two.
func TestPlace(t *testing.T) {
	place := func(rawURL string, opts storage.Options) string {
		u, err := url.Parse(rawURL)
		if err != nil {
			t.Fatal(err)
		}
		s, err := Open(u, opts)
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
		{{url: "gs://b/app"}, {url: "gs://b/app/"}, {url: "gs://b//x/../app"}, {url: "gs://b/%61pp"}},
		{{url: "gs://b/app2"}},
		{{url: "gs://b/app?endpoint=https://one.example.com"}, {url: "gs://b/app", opts: storage.Options{Endpoint: "https://one.example.com/"}}},
		{{url: "gs://b/app?endpoint=https://two.example.com"}},
		{{url: "gs://b/a%20b"}},
		{{url: "gs://b/a%2520b"}},
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
