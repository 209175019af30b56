// Package s3 keeps a replica in a bucket of Amazon S3 or a compatible service.
// Import it for its side effect:
//
//	import _ "github.com/walvfs/walvfs/shipper/storage/s3"
//
// # URLs
//
//	s3://bucket/path                                          AWS, or the configured endpoint
//	s3://bucket.ACCOUNT_ID.r2.cloudflarestorage.com/path      Cloudflare R2
//	s3://bucket.s3.us-west-004.backblazeb2.com/path           Backblaze B2
//	s3://bucket.nyc3.digitaloceanspaces.com/path              DigitalOcean; also Wasabi, Tigris,
//	                                                          Google, Scaleway, Hetzner, Linode, OVH, Filebase
//	s3://bucket.localhost:9000/path                           a server of one's own
//	s3://bucket/path?endpoint=https://host&region=r           any other
//
// Any other host is a bucket's name, with or without dots. Name an access point by its
// alias. The query's parameters are:
//
//	endpoint, region            where the service is, if the host does not say it
//	force-path-style            true or false; forcePathStyle is the same
//	sse                         AES256, aws:kms or aws:kms:dsse: encryption of each new object
//	sse-kms-key-id              the key in KMS; implies sse=aws:kms
//	sse-customer-key-path       a file with a key of your own, 32 bytes or their base64, which
//	                            each later read needs, too
//	storage-class               of each new object, such as STANDARD_IA
//	request-payer               requester: you pay for requests to another's bucket
//
// [storage.Options] override them, and the AWS SDK's own chain comes last: its
// environment variables, such as AWS_ENDPOINT_URL_S3, its files and the machine's role. A
// customer key may be in the environment variable WALVFS_SSE_CUSTOMER_KEY instead, and is
// never in the URL. If the service refuses the credentials, the store reads them again
// from their source, such as ~/.aws/credentials or a web identity token's file, for the
// next request.
//
// # Objects
//
// Keys are <path>/<key>. A body of up to 64 MiB is one PutObject with If-None-Match: *; a
// larger one is a multipart upload whose completion has that header. If a service honours
// it only in PutObject, the store sends up to 5 GiB in one request. The store streams
// bodies and never holds them in memory.
package s3

import (
	"context"
	"fmt"
	"log/slog"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/walvfs/walvfs/format"
	"github.com/walvfs/walvfs/shipper/storage"
	"github.com/walvfs/walvfs/shipper/storage/internal/driver"
)

const (
	// putMax is the largest body sent in one request by choice: a failed request is sent
	// again from its start. putLimit is the service's limit.
	putMax   = 64 << 20
	putLimit = 5 << 30

	partSize  = 32 << 20
	partsMax  = 10_000 // per upload, the service's limit
	parallel  = 4      // concurrent parts
	deleteMax = 1000   // keys per DeleteObjects request, the service's limit
)

// Store is a replica in an S3 bucket.
type Store struct {
	client   *s3.Client
	provider *provider // of the client's credentials, nil if it has none
	lease    *lease    // of the client
	bucket   string
	root     string // "" or with a closing slash
	url      string
	patience time.Duration

	putMax   int64
	partSize int64
	pageSize int32 // 0: the service's

	condition *string // of a create: If-None-Match, nil for none
	settings  settings

	// What the service has shown: that it lacks DeleteObjects, and that it requires a
	// checksum of bodies.
	noBulkDelete  atomic.Bool
	wantsChecksum atomic.Bool
}

var (
	_ storage.Store    = (*Store)(nil)
	_ storage.Placer   = (*Store)(nil)
	_ storage.Bucketer = (*Store)(nil)
)

func init() {
	storage.Register("s3", func(ctx context.Context, u *url.URL, opts storage.Options) (storage.Store, error) {
		return Open(ctx, u, opts)
	})
}

// Open opens the store of an s3 URL. It makes no request.
func Open(ctx context.Context, u *url.URL, opts storage.Options) (*Store, error) {
	s, err := open(ctx, u, opts)
	if err != nil {
		return nil, fmt.Errorf("storage: s3://%s%s: %w", u.Host, u.EscapedPath(), err)
	}
	return s, nil
}

func open(ctx context.Context, u *url.URL, opts storage.Options) (*Store, error) {
	addr, err := parse(u, opts)
	if err != nil {
		return nil, err
	}
	settings, err := readSettings(u.Query(), opts)
	if err != nil {
		return nil, err
	}
	s := &Store{
		lease:    clients.Lease(addr.service),
		settings: settings,
		bucket:   addr.bucket,
		root:     addr.root,
		url:      strings.TrimSuffix("s3://"+u.Host+"/"+addr.root, "/"),
		patience: driver.Patience,
		putMax:   putMax,
		partSize: partSize,
	}
	if s.root != "" {
		s.root += "/"
	}
	if !opts.Unconditional {
		s.condition = &ifAbsent
	}
	if err := s.connect(ctx, addr.needEndpoint); err != nil {
		s.lease.End()
		return nil, err
	}
	return s, nil
}

// ifAbsent is the value of If-None-Match for a create: it requires that no object exists.
var ifAbsent = "*"

// connect gets the client. It makes no request, but fails if the address needs an
// endpoint and the SDK's configuration has none.
func (s *Store) connect(ctx context.Context, needEndpoint error) error {
	c, err := s.lease.Client(ctx)
	switch {
	case err != nil:
		return err
	case needEndpoint != nil && c.sdk.Options().BaseEndpoint == nil:
		return needEndpoint
	}
	s.client, s.provider = c.sdk, c.provider
	return s.settings.checkEndpoint(aws.ToString(c.sdk.Options().BaseEndpoint))
}

// Layout returns Litestream's layout for S3.
func (s *Store) Layout() format.Layout { return format.LayoutHex }

// String returns the replica's URL, without its query.
func (s *Store) String() string { return s.url }

// Place returns the endpoint, the bucket and the path.
func (s *Store) Place() string { return s.Bucket() + "/" + s.root }

// Bucket returns the endpoint and the bucket.
func (s *Store) Bucket() string {
	endpoint := aws.ToString(s.client.Options().BaseEndpoint)
	return "s3:" + strings.TrimSuffix(endpoint, "/") + "/" + s.bucket
}

// LogValue returns the URL: nothing else of a store belongs in logs.
func (s *Store) LogValue() slog.Value { return slog.StringValue(s.url) }

// Close closes idle connections, unless another store uses them, too.
func (s *Store) Close() error {
	s.lease.End()
	return nil
}
