package gcs

import (
	"context"
	"errors"
	"net"
	"net/http"
	"os"
	"strings"
	"time"

	gcs "cloud.google.com/go/storage"
	"github.com/googleapis/gax-go/v2"
	"google.golang.org/api/option"

	"github.com/walvfs/walvfs/shipper/storage/internal/driver"
)

// service is the complete configuration of a client, besides the environment when it is
// built.
type service struct {
	endpoint string // "": Google's, or STORAGE_EMULATOR_HOST
}

// client is shared by the stores of a service, with its connections and its credentials.
type client struct {
	sdk         *gcs.Client
	transport   *driver.Transport
	credentials *authorized // nil: requests carry none
}

type lease = driver.Lease[service, *client]

var clients = driver.NewPool(newClient, (*client).close)

func newClient(svc service) (*client, error) {
	// Never send a token unencrypted.
	inClear := os.Getenv("STORAGE_EMULATOR_HOST") != "" || strings.HasPrefix(svc.endpoint, "http://")
	return connect(svc, !inClear)
}

func connect(svc service, authorize bool) (*client, error) {
	base := &driver.Transport{Transport: &http.Transport{
		Proxy:             http.ProxyFromEnvironment,
		DialContext:       (&net.Dialer{Timeout: 30 * time.Second}).DialContext,
		ForceAttemptHTTP2: true,
	}}
	driver.Tune(base.Transport)
	c := &client{transport: base}
	var rt http.RoundTripper = base
	if authorize {
		c.credentials = newAuthorized(base)
		if _, err := c.credentials.Get(); err != nil {
			return nil, err
		}
		rt = c.credentials
	}
	opts := []option.ClientOption{
		option.WithHTTPClient(&http.Client{Transport: strict{rt}}),
		// The SDK searches for credentials even if it gets our client, and queries Google's
		// metadata server, which takes seconds where that does not exist.
		option.WithoutAuthentication(),
	}
	if svc.endpoint != "" {
		opts = append(opts, option.WithEndpoint(svc.endpoint))
	}
	var err error
	c.sdk, err = gcs.NewClient(context.Background(), opts...)
	return c, err
}

func (c *client) close() {
	c.sdk.Close()
	c.transport.Close()
}

// handle returns the bucket. It builds the client at the first use, because the search
// for credentials may use the network, and may succeed later.
func (s *Store) handle(ctx context.Context) (*gcs.BucketHandle, error) {
	c, err := s.lease.Client(ctx)
	if err != nil {
		return nil, err
	}
	s.client.Store(c)
	bucket := c.sdk.Bucket(s.bucket).Retryer(
		gcs.WithPolicy(gcs.RetryIdempotent), // a create with a condition is idempotent
		gcs.WithMaxAttempts(attempts),
		gcs.WithErrorFunc(worthRetrying),
		gcs.WithBackoff(gax.Backoff{Initial: 250 * time.Millisecond, Max: 4 * time.Second, Multiplier: 2}),
	)
	if s.userProject != "" {
		bucket = bucket.UserProject(s.userProject)
	}
	return bucket, nil
}

// object returns an object's handle, with the key that encrypts it.
func (s *Store) object(ctx context.Context, key string) (*gcs.ObjectHandle, error) {
	bucket, err := s.handle(ctx)
	if err != nil {
		return nil, err
	}
	o := bucket.Object(s.root + key)
	if s.settings.CustomerKey != "" {
		o = o.Key([]byte(s.settings.CustomerKey))
	}
	return o, nil
}

// attempts is the number of attempts at a request. The caller is more patient than the
// SDK, but needs to see errors meanwhile.
const attempts = 4

// worthRetrying: the client retries all 5xx, but 501 does not change, and neither do
// errors of credentials and answers that are not the service's.
func worthRetrying(err error) bool {
	var creds credentialsError
	if errors.As(err, &creds) || errors.Is(err, driver.ErrForeign) {
		return false
	}
	return status(err) != http.StatusNotImplemented && gcs.ShouldRetry(err)
}
