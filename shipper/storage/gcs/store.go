// Package gcs keeps a replica in a bucket of Google Cloud Storage. Import it
// for its side effect:
//
//	import _ "github.com/walvfs/walvfs/shipper/storage/gcs"
//
// URLs are gs://bucket/path; keys are <path>/<key>. Credentials are the
// application default credentials: GOOGLE_APPLICATION_CREDENTIALS, gcloud's, or
// the machine's service account. With STORAGE_EMULATOR_HOST set, or an endpoint
// of plain http, requests go there without credentials.
//
// Objects are created with ifGenerationMatch=0. A body of up to 8 MiB is one
// request; a larger one is a resumable upload in pieces of 8 MiB, which is also
// the memory that it needs.
package gcs

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"strings"
	"time"

	"github.com/walvfs/walvfs/format"
	"github.com/walvfs/walvfs/shipper/storage"
	"github.com/walvfs/walvfs/shipper/storage/internal/driver"
)

// chunkSize is the piece of a resumable upload: what is held in memory and sent
// again when a request fails. A multiple of 256 KiB, says the service.
const chunkSize = 8 << 20

// Store is a replica in a bucket of Google Cloud Storage.
type Store struct {
	lease    *lease // of the client
	bucket   string
	root     string // "" or with a closing slash
	url      string
	patience time.Duration

	chunkSize int
	pageSize  int // 0: the service's
}

var _ storage.Store = (*Store)(nil)

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
	if err := driver.CheckURL(u, "endpoint"); err != nil {
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
		// As STORAGE_EMULATOR_HOST has it: the API's path is not the user's.
		if strings.Trim(e.Path, "/") == "" {
			endpoint = e.JoinPath("storage/v1/").String()
		}
	}
	root := driver.Root(u)
	s := &Store{
		lease:     clients.Lease(service{endpoint}),
		bucket:    u.Host,
		root:      root,
		url:       strings.TrimSuffix("gs://"+u.Host+"/"+root, "/"),
		patience:  driver.Patience,
		chunkSize: chunkSize,
	}
	if root != "" {
		s.root += "/"
	}
	return s, nil
}

// Layout is Litestream's for GCS.
func (s *Store) Layout() format.Layout { return format.LayoutDecimal }

// String returns the replica's URL, without its query.
func (s *Store) String() string { return s.url }

// LogValue is the URL: nothing else of a store is for logs.
func (s *Store) LogValue() slog.Value { return slog.StringValue(s.url) }

// Close closes idle connections, unless another store uses them, too.
func (s *Store) Close() error {
	s.lease.End()
	return nil
}
