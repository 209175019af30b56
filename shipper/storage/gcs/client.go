package gcs

import (
	"context"
	"net"
	"net/http"
	"os"
	"strings"
	"time"

	gcs "cloud.google.com/go/storage"
	"github.com/googleapis/gax-go/v2"
	"google.golang.org/api/option"
	htransport "google.golang.org/api/transport/http"

	"github.com/walvfs/walvfs/shipper/storage/internal/driver"
)

// service is all that decides a client, beside the environment when it is built.
type service struct {
	endpoint string // "": Google's, or STORAGE_EMULATOR_HOST
}

// client is what the stores of a service share, with its connections and its
// credentials.
type client struct {
	sdk       *gcs.Client
	transport *http.Transport
}

type lease = driver.Lease[service, *client]

var clients = driver.NewPool(newClient, (*client).close)

func newClient(svc service) (*client, error) {
	base := &http.Transport{
		Proxy:             http.ProxyFromEnvironment,
		DialContext:       (&net.Dialer{Timeout: 30 * time.Second}).DialContext,
		ForceAttemptHTTP2: true,
	}
	driver.Tune(base)

	var opts []option.ClientOption
	if svc.endpoint != "" {
		opts = append(opts, option.WithEndpoint(svc.endpoint))
	}
	var rt http.RoundTripper = base
	// No token is sent in the clear.
	if os.Getenv("STORAGE_EMULATOR_HOST") == "" && !strings.HasPrefix(svc.endpoint, "http://") {
		var err error
		rt, err = htransport.NewTransport(context.Background(), base, option.WithScopes(gcs.ScopeReadWrite))
		if err != nil {
			return nil, credentialsError{err}
		}
	}
	opts = append(opts, option.WithHTTPClient(&http.Client{Transport: rt}))
	sdk, err := gcs.NewClient(context.Background(), opts...)
	if err != nil {
		return nil, err
	}
	return &client{sdk, base}, nil
}

func (c *client) close() {
	c.sdk.Close()
	c.transport.CloseIdleConnections()
}

// handle returns the bucket. The client is built when it is needed first, for the
// search for credentials may ask the network, and may succeed later.
func (s *Store) handle(ctx context.Context) (*gcs.BucketHandle, error) {
	c, err := s.lease.Client(ctx)
	if err != nil {
		return nil, err
	}
	return c.sdk.Bucket(s.bucket).Retryer(
		gcs.WithPolicy(gcs.RetryIdempotent), // a create with a condition is one
		gcs.WithMaxAttempts(attempts),
		gcs.WithErrorFunc(worthRetrying),
		gcs.WithBackoff(gax.Backoff{Initial: 250 * time.Millisecond, Max: 4 * time.Second, Multiplier: 2}),
	), nil
}

// attempts at a request. The caller has more patience than the SDK, but wants
// to know meanwhile.
const attempts = 4

// worthRetrying: the client repeats all 5xx, but 501 stays what it is.
func worthRetrying(err error) bool {
	return status(err) != http.StatusNotImplemented && gcs.ShouldRetry(err)
}
