package gcs

import (
	"context"
	"net/http"

	gcs "cloud.google.com/go/storage"
	"google.golang.org/api/option"
	htransport "google.golang.org/api/transport/http"

	"github.com/walvfs/walvfs/shipper/storage/internal/driver"
)

// authorized adds credentials to requests. It searches for them again when the service
// refuses them, because their file may have changed.
type authorized struct {
	driver.Fresh[http.RoundTripper]
}

func newAuthorized(base http.RoundTripper) *authorized {
	a := &authorized{}
	a.Load = func() (http.RoundTripper, error) {
		rt, err := htransport.NewTransport(context.Background(), base, option.WithScopes(gcs.ScopeReadWrite))
		if err != nil {
			return nil, credentialsError{err}
		}
		return rt, nil
	}
	return a
}

// RoundTrip implements [http.RoundTripper].
func (a *authorized) RoundTrip(req *http.Request) (*http.Response, error) {
	rt, err := a.Get()
	if err != nil {
		return nil, err
	}
	return rt.RoundTrip(req)
}

// refused makes the next request search for credentials again.
func (s *Store) refused() {
	if c := s.client.Load(); c != nil && c.credentials != nil {
		c.credentials.Refused()
	}
}
