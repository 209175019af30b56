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
// The query's parameters are endpoint, region and forcePathStyle (or
// force-path-style). [storage.Options] go before them, and the AWS SDK's own
// chain comes last: its environment variables, among them AWS_ENDPOINT_URL_S3,
// its files and the machine's role. A host that is not one of the above is a
// bucket's name, dots or not.
//
// # Objects
//
// Keys are <path>/<key>. A body of up to 64 MiB is one PutObject with
// If-None-Match: *; a larger one is a multipart upload whose completion has
// that header. Bodies are read from where they are and never held in memory.
package s3

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/smithy-go/logging"

	"github.com/walvfs/walvfs/format"
	"github.com/walvfs/walvfs/shipper/storage"
	"github.com/walvfs/walvfs/shipper/storage/internal/driver"
)

const (
	// putMax is the largest body that is sent in one request. The limit of the
	// service is 5 GiB, but a request that fails is sent again from its start.
	putMax = 64 << 20

	partSize  = 32 << 20
	partsMax  = 10_000 // of one upload, says the service
	parallel  = 4      // parts under way at a time
	deleteMax = 1000   // keys a DeleteObjects request, says the service
)

// Store is a replica in an S3 bucket.
type Store struct {
	client   *s3.Client
	http     *http.Client
	bucket   string
	root     string // "" or with a closing slash
	url      string
	patience time.Duration

	putMax   int64
	partSize int64
	pageSize int32 // 0: the service's

	condition *string // of a create: If-None-Match, nil for none

	// noBulkDelete remembers that the service has no DeleteObjects.
	noBulkDelete atomic.Bool
}

var _ storage.Store = (*Store)(nil)

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
	cfg, err := loadConfig(ctx, addr, opts)
	if err != nil {
		return nil, err
	}
	s := &Store{
		http:     httpClient(cfg),
		bucket:   addr.bucket,
		root:     addr.root,
		url:      strings.TrimSuffix("s3://"+u.Host+"/"+addr.root, "/"),
		patience: driver.Patience,
		putMax:   putMax,
		partSize: partSize,
	}
	if !opts.Unconditional {
		s.condition = aws.String("*")
	}
	if s.root != "" {
		s.root += "/"
	}
	s.client = s3.NewFromConfig(cfg, func(o *s3.Options) { configure(o, addr, s.http) })
	if s.client.Options().BaseEndpoint == nil && addr.needEndpoint != nil {
		return nil, addr.needEndpoint
	}
	return s, nil
}

func loadConfig(ctx context.Context, addr address, opts storage.Options) (aws.Config, error) {
	if (opts.AccessKeyID == "") != (opts.SecretAccessKey == "") {
		return aws.Config{}, errors.New("an access key ID and its secret belong together: set both or neither")
	}
	load := []func(*config.LoadOptions) error{
		// A plain http.Client would not let the SDK add AWS_CA_BUNDLE's
		// certificates, and loading would fail.
		config.WithHTTPClient(awshttp.NewBuildableClient().WithTransportOptions(limitWaiting)),
		config.WithLogger(logging.Nop{}),
	}
	if opts.AccessKeyID != "" {
		load = append(load, config.WithCredentialsProvider(
			credentials.NewStaticCredentialsProvider(opts.AccessKeyID, opts.SecretAccessKey, "")))
	}
	cfg, err := config.LoadDefaultConfig(ctx, load...)
	if err != nil {
		return aws.Config{}, fmt.Errorf("the AWS configuration cannot be loaded: %w", err)
	}
	cfg.Region = first(addr.region, cfg.Region, "us-east-1")
	if cfg.Credentials != nil && !aws.IsCredentialsProvider(cfg.Credentials, aws.AnonymousCredentials{}) {
		cfg.Credentials = &provider{cfg.Credentials}
	}
	return cfg, nil
}

// limitWaiting bounds each step in which nothing moves. The time for a body is
// not limited here: a large upload may take long.
func limitWaiting(t *http.Transport) {
	t.TLSHandshakeTimeout = 10 * time.Second
	t.ResponseHeaderTimeout = time.Minute // after the whole request was sent
	t.MaxIdleConnsPerHost = 64            // a parallel restore's
}

// httpClient has the SDK's transport, certificates included, but unlike the
// SDK's client it can be closed.
func httpClient(cfg aws.Config) *http.Client {
	return &http.Client{
		Transport: cfg.HTTPClient.(*awshttp.BuildableClient).GetTransport(),
		// The other redirects drop the method, and S3's have no location.
		CheckRedirect: func(req *http.Request, via []*http.Request) error {
			if code := req.Response.StatusCode; code != 307 && code != 308 || len(via) > 3 {
				return http.ErrUseLastResponse
			}
			if req.URL.Host != via[len(via)-1].URL.Host {
				req.Header.Del("X-Amz-Security-Token")
			}
			return nil
		},
	}
}

func configure(o *s3.Options, addr address, client *http.Client) {
	o.HTTPClient = client
	o.DisableLogOutputChecksumValidationSkipped = true
	if addr.endpoint != "" {
		o.BaseEndpoint = &addr.endpoint
	}
	endpoint := aws.ToString(o.BaseEndpoint)
	switch {
	case addr.pathStyle != nil:
		o.UsePathStyle = *addr.pathStyle
	case endpoint != "":
		// A service in the URL's own host is one with a host name a bucket.
		o.UsePathStyle = !addr.inHost && defaultPathStyle(endpoint)
	}
	if addr.region == "" && endpoint != "" {
		if r := endpointRegion(endpoint); r != "" {
			o.Region = r // the SDK's environment may be meant for AWS
		}
	}
	if endpoint != "" && !isAWS(endpoint) {
		// The CRC32 trailers that the SDK sends by default are refused by
		// several compatible services.
		o.RequestChecksumCalculation = aws.RequestChecksumCalculationWhenRequired
		o.ResponseChecksumValidation = aws.ResponseChecksumValidationWhenRequired
	}
}

// Layout is Litestream's for S3.
func (s *Store) Layout() format.Layout { return format.LayoutHex }

// String returns the replica's URL, without its query.
func (s *Store) String() string { return s.url }

// LogValue is the URL: nothing else of a store is for logs.
func (s *Store) LogValue() slog.Value { return slog.StringValue(s.url) }

// Close closes idle connections.
func (s *Store) Close() error {
	s.http.CloseIdleConnections()
	return nil
}
