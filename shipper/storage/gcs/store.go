// Package gcs keeps a replica in a bucket of Google Cloud Storage. Import it
// for its side effect:
//
//	import _ "github.com/walvfs/walvfs/shipper/storage/gcs"
//
// URLs are gs://bucket/path; keys are <path>/<key>. The query's parameters are:
//
//	endpoint                 of a service other than Google's
//	sse-kms-key-id           the key in Cloud KMS that encrypts each new object:
//	                         projects/P/locations/L/keyRings/R/cryptoKeys/K
//	sse-customer-key-path    a file with a key of your own, 32 bytes or their base64, which
//	                         each later read needs, too
//	storage-class            of each new object, such as NEARLINE
//	user-project             the project that pays for requests to another's bucket
//
// A customer key may be in the environment variable WALVFS_SSE_CUSTOMER_KEY instead,
// and is never in the URL.
//
// Credentials are the application default credentials: GOOGLE_APPLICATION_CREDENTIALS,
// gcloud's, or the machine's service account. If the service refuses them, the next
// request searches for new credentials. With STORAGE_EMULATOR_HOST set, or an endpoint of
// plain http, requests go there, and carry no credentials.
//
// Objects are created with ifGenerationMatch=0. A body of up to 8 MiB is one request; a
// larger one is a resumable upload in pieces of 8 MiB, which is also the memory it needs.
package gcs

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"github.com/walvfs/walvfs/format"
	"github.com/walvfs/walvfs/shipper/storage"
	"github.com/walvfs/walvfs/shipper/storage/internal/driver"
)

// chunkSize is the size of a piece of a resumable upload: it is held in memory and sent
// again when a request fails. The service requires a multiple of 256 KiB.
const chunkSize = 8 << 20

// Store is a replica in a bucket of Google Cloud Storage.
type Store struct {
	lease    *lease                 // of the client
	client   atomic.Pointer[client] // the client used last, nil before the first use
	endpoint string                 // "": Google's, or STORAGE_EMULATOR_HOST
	bucket   string
	root     string // "" or with a closing slash
	url      string
	patience time.Duration

	settings    driver.Settings
	userProject string // "": the bucket's owner pays

	chunkSize int
	pageSize  int // 0: the service's
}

var (
	_ storage.Store    = (*Store)(nil)
	_ storage.Placer   = (*Store)(nil)
	_ storage.Bucketer = (*Store)(nil)
)

func init() {
	storage.Register("gs", func(_ context.Context, u *url.URL, opts storage.Options) (storage.Store, error) {
		return Open(u, opts)
	})
}

// Open opens the store of a gs URL. It makes no request.
func Open(u *url.URL, opts storage.Options) (*Store, error) {
	s, err := open(u, opts)
	if err != nil {
		return nil, fmt.Errorf("storage: gs://%s%s: %w", u.Host, u.EscapedPath(), err)
	}
	return s, nil
}

func open(u *url.URL, opts storage.Options) (*Store, error) {
	if err := driver.CheckURL(u, "endpoint", driver.ParamKMSKeyID, driver.ParamCustomerKeyPath, driver.ParamStorageClass, driver.ParamUserProject); err != nil {
		return nil, err
	}
	if u.Hostname() == "" || u.Port() != "" {
		return nil, errors.New("expected gs://bucket/path")
	}
	if opts.AccessKeyID != "" || opts.SecretAccessKey != "" {
		return nil, errors.New("access keys are for s3:// URLs: Google's credentials come from GOOGLE_APPLICATION_CREDENTIALS, gcloud or the machine")
	}
	endpoint := opts.Endpoint
	if endpoint == "" {
		endpoint = u.Query().Get("endpoint")
	}
	if endpoint != "" {
		e, err := url.Parse(endpoint)
		if err != nil || e.Host == "" || e.User != nil || e.Scheme != "http" && e.Scheme != "https" {
			return nil, errors.New("endpoint: expected https://host or http://host:port")
		}
		// As with STORAGE_EMULATOR_HOST: the user does not give the API's path.
		if strings.Trim(e.Path, "/") == "" {
			endpoint = e.JoinPath("storage/v1/").String()
		}
	}
	settings, err := readSettings(u.Query(), opts)
	if err != nil {
		return nil, err
	}
	root := driver.Root(u)
	s := &Store{
		lease:     clients.Lease(service{endpoint}),
		endpoint:  endpoint,
		bucket:    u.Host,
		root:      root,
		url:       strings.TrimSuffix("gs://"+u.Host+"/"+root, "/"),
		patience:  driver.Patience,
		settings:  settings,
		chunkSize: chunkSize,

		userProject: u.Query().Get(driver.ParamUserProject),
	}
	if root != "" {
		s.root += "/"
	}
	return s, nil
}

func readSettings(q url.Values, opts storage.Options) (driver.Settings, error) {
	if opts.SSE != "" || opts.RequestPayer != "" {
		return driver.Settings{}, errors.New("sse and request-payer are for s3:// URLs: write sse-kms-key-id or user-project in the gs:// URL")
	}
	s, err := driver.ReadSettings(q, opts)
	if s.KMSKeyID != "" && !strings.HasPrefix(s.KMSKeyID, "projects/") {
		err = errors.New(driver.ParamKMSKeyID + ": expected projects/PROJECT/locations/LOCATION/keyRings/RING/cryptoKeys/KEY")
	}
	return s, err
}

// Layout returns Litestream's layout for GCS.
func (s *Store) Layout() format.Layout { return format.LayoutDecimal }

// String returns the replica's URL, without its query.
func (s *Store) String() string { return s.url }

// Place returns the endpoint, the bucket and the path.
func (s *Store) Place() string { return s.Bucket() + "/" + s.root }

// Bucket returns the endpoint and the bucket.
func (s *Store) Bucket() string {
	return "gs:" + strings.TrimSuffix(s.endpoint, "/") + "/" + s.bucket
}

// LogValue returns the URL: nothing else of a store belongs in logs.
func (s *Store) LogValue() slog.Value { return slog.StringValue(s.url) }

// Close closes idle connections, unless another store uses them, too.
func (s *Store) Close() error {
	s.lease.End()
	return nil
}
