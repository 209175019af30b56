package driver

import (
	"fmt"
	"io"
	"net/url"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/walvfs/walvfs/shipper/storage"
)

// Metadata returns attributes as an object's metadata.
func Metadata(a storage.Attrs) map[string]string {
	m := map[string]string{}
	if !a.Time.IsZero() {
		m[storage.MetaTime] = a.Time.UTC().Format(time.RFC3339Nano)
	}
	if a.WriteID != "" {
		m[storage.MetaWriteID] = a.WriteID
	}
	return m
}

// Attrs reads attributes back. An object from another program has no time of its own:
// Attrs uses the store's.
func Attrs(lookup func(name string) string, modified time.Time) storage.Attrs {
	t, err := time.Parse(time.RFC3339Nano, lookup(storage.MetaTime))
	if err != nil {
		t = modified
	}
	return storage.Attrs{Time: t.UTC(), WriteID: lookup(storage.MetaWriteID)}
}

// Root returns the path of a replica in its bucket, without slashes around it.
func Root(u *url.URL) string {
	return strings.Trim(path.Clean("/"+u.Path), "/")
}

// CheckURL refuses elements that no bucket URL has. Its errors name those parts but never
// repeat a value, which may be a secret.
func CheckURL(u *url.URL, params ...string) error {
	switch {
	case u.User != nil:
		return fmt.Errorf("credentials do not belong in the URL: use the environment, the SDK's own files or walvfs.yml")
	case u.Opaque != "":
		return fmt.Errorf("expected %s:// and a bucket", u.Scheme)
	case u.Fragment != "":
		return fmt.Errorf("a # in the URL must be written %%23")
	}
	query, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return fmt.Errorf("the query cannot be parsed")
	}
	for name := range query {
		if !slices.Contains(params, name) {
			if len(params) == 0 {
				return fmt.Errorf("unknown parameter %q: %s URLs have none%s", name, u.Scheme, instead(u.Scheme, name))
			}
			return fmt.Errorf("unknown parameter %q: expected one of %s%s", name, strings.Join(params, ", "), instead(u.Scheme, name))
		}
	}
	return nil
}

// CheckRange refuses a negative offset, so that all drivers do.
func CheckRange(offset int64) error {
	if offset < 0 {
		return fmt.Errorf("negative offset %d", offset)
	}
	return nil
}

// Empty returns the content of a range without bytes.
func Empty() io.ReadCloser { return io.NopCloser(strings.NewReader("")) }
