package storage

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/url"
	"slices"
	"strings"
	"sync"
)

// Options is what a URL does not say, or should not. Zero values leave a
// setting to the URL's query, then to the SDK's own environment and files.
type Options struct {
	Endpoint        string // base URL of an S3-compatible or GCS-compatible service
	Region          string // S3 region
	PathStyle       bool   // S3: put the bucket in the path instead of the host name
	AccessKeyID     string
	SecretAccessKey string

	// What S3 objects are stored with. The URL's parameters of these names say the
	// same, but for the key itself, which is a secret.
	SSE                string // server-side encryption: AES256, aws:kms or aws:kms:dsse
	SSEKMSKeyID        string // the key's ID or ARN in KMS
	SSECustomerKey     string // 32 bytes, base64
	SSECustomerKeyPath string // a file with 32 bytes, as they are or base64
	StorageClass       string
	RequestPayer       string // "requester"

	// Unconditional makes Create look for the object first and then write it
	// without a condition, for a store that refuses or ignores put-if-absent: two
	// writers that do so at once are not told apart.
	Unconditional bool
}

// EnvCustomerKey is the environment variable with a customer-provided encryption key:
// 32 bytes, base64. It holds for each S3 and GCS replica whose URL and options name
// neither encryption nor a key.
const EnvCustomerKey = "WALVFS_SSE_CUSTOMER_KEY"

// String describes the options without the secrets, so that no %v prints it.
func (o Options) String() string { return o.LogValue().String() }

// GoString does the same for %#v.
func (o Options) GoString() string { return "storage.Options" + o.String() }

// LogValue keeps the secrets out of logs.
func (o Options) LogValue() slog.Value {
	return slog.GroupValue(
		slog.String("endpoint", o.Endpoint),
		slog.String("region", o.Region),
		slog.Bool("path_style", o.PathStyle),
		slog.Bool("credentials", o.AccessKeyID != ""),
		slog.String("sse", o.SSE),
		slog.Bool("customer_key", o.SSECustomerKey != "" || o.SSECustomerKeyPath != ""),
		slog.String("storage_class", o.StorageClass),
	)
}

// An Opener opens the store that a URL names.
type Opener func(ctx context.Context, u *url.URL, opts Options) (Store, error)

var (
	openersMu sync.RWMutex
	openers   = map[string]Opener{} // by scheme
)

// Register makes a driver available to [Open] under a URL scheme. It is called
// by the driver's init function and panics if the scheme is taken.
func Register(scheme string, open Opener) {
	openersMu.Lock()
	defer openersMu.Unlock()
	if openers[scheme] != nil {
		panic("storage: scheme " + scheme + " registered twice")
	}
	openers[scheme] = open
}

// Open opens the store that a replica URL names: file:///dir, s3://bucket/path,
// s3://bucket.host/path or gs://bucket/path. It makes no request: a store that
// cannot be reached, or a missing bucket, is found by the first operation.
func Open(ctx context.Context, rawURL string, opts Options) (Store, error) {
	u, open, err := lookup(rawURL)
	if err != nil {
		return nil, err
	}
	return open(ctx, u, opts)
}

// Check reports what [Open] would say of the URL without opening anything: it
// must parse and its scheme's driver must be linked in.
func Check(rawURL string) error {
	_, _, err := lookup(rawURL)
	return err
}

// packages of the drivers that walvfs has, for the hint when one is missing.
var packages = map[string]string{"file": "file", "s3": "s3", "gs": "gcs"}

// errAccessPoint: an ARN holds colons and slashes, which a URL's host cannot.
var errAccessPoint = errors.New("storage: an access point is named by its alias: write s3://ALIAS/path (the AWS console and " +
	"aws s3control get-access-point show the alias, which ends in -s3alias)")

func lookup(rawURL string) (*url.URL, Opener, error) {
	if strings.HasPrefix(rawURL, "s3://arn:") {
		return nil, nil, errAccessPoint
	}
	u, err := url.Parse(rawURL)
	if _, ok := errors.AsType[url.EscapeError](err); ok {
		return nil, nil, errors.New("storage: the replica URL cannot be parsed: a % in it begins no escape (write %25 for a percent sign, and %2525 in the URI of a database, which is unescaped before)")
	}
	if err != nil || u.Scheme == "" {
		// The URL may hold a secret, and url.Error repeats it.
		return nil, nil, fmt.Errorf("storage: the replica URL cannot be parsed: expected file:///dir, s3://bucket/path or gs://bucket/path")
	}
	openersMu.RLock()
	defer openersMu.RUnlock()
	if open := openers[u.Scheme]; open != nil {
		return u, open, nil
	}
	if pkg := packages[u.Scheme]; pkg != "" {
		return nil, nil, fmt.Errorf("storage: no driver for %s:// is linked in: add import _ \"github.com/walvfs/walvfs/shipper/storage/%s\"", u.Scheme, pkg)
	}
	return nil, nil, fmt.Errorf("storage: unknown scheme %s:// (linked in: %s)", u.Scheme, strings.Join(slices.Sorted(maps.Keys(openers)), ", "))
}
