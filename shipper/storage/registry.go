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

// Options are settings that a URL lacks, or should not contain. A zero value leaves a
// setting to the URL's query, then to the SDK's own environment and files.
type Options struct {
	Endpoint        string // base URL of an S3-compatible or GCS-compatible service
	Region          string // S3 region
	PathStyle       bool   // S3: put the bucket in the path instead of the host name
	AccessKeyID     string
	SecretAccessKey string

	// How S3 objects are stored. The URL has parameters of the same names, except for the
	// key itself, which is a secret.
	SSE                string // server-side encryption: AES256, aws:kms or aws:kms:dsse
	SSEKMSKeyID        string // the key's ID or ARN in KMS
	SSECustomerKey     string // 32 bytes, base64
	SSECustomerKeyPath string // a file with 32 bytes, raw or base64
	StorageClass       string
	RequestPayer       string // "requester"

	// Unconditional makes Create check that the object does not exist and then write it
	// without a condition, for a store that refuses or ignores put-if-absent. It does not
	// detect two writers that do so at once.
	Unconditional bool
}

// EnvCustomerKey is the environment variable with a customer-provided encryption key: 32
// bytes, base64. It applies to each S3 and GCS replica whose URL and options set neither
// encryption nor a key.
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

// An Opener opens the store of a URL.
type Opener func(ctx context.Context, u *url.URL, opts Options) (Store, error)

var (
	openersMu sync.RWMutex
	openers   = map[string]Opener{} // by scheme
)

// Register makes a driver available to [Open] under a URL scheme. The driver's init
// function calls it. It panics if the scheme is already registered.
func Register(scheme string, open Opener) {
	openersMu.Lock()
	defer openersMu.Unlock()
	if openers[scheme] != nil {
		panic("storage: scheme " + scheme + " registered twice")
	}
	openers[scheme] = open
}

// Open opens the store of a replica URL: file:///dir, s3://bucket/path,
// s3://bucket.host/path or gs://bucket/path. It makes no request: the first operation
// reports an unreachable store or a missing bucket.
func Open(ctx context.Context, rawURL string, opts Options) (Store, error) {
	u, open, err := lookup(rawURL)
	if err != nil {
		return nil, err
	}
	return open(ctx, u, opts)
}

// Check returns the error that [Open] would return for the URL, without opening anything:
// the URL must parse and its scheme's driver must be linked in.
func Check(rawURL string) error {
	_, _, err := lookup(rawURL)
	return err
}

// packages are the packages of walvfs's drivers, for the hint when one is missing.
var packages = map[string]string{"file": "file", "s3": "s3", "gs": "gcs"}

// errAccessPoint: an ARN contains colons and slashes, which a URL's host cannot.
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
