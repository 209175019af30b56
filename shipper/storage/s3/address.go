package s3

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"regexp"
	"strconv"
	"strings"

	"github.com/walvfs/walvfs/shipper/storage"
	"github.com/walvfs/walvfs/shipper/storage/internal/driver"
)

// address is the location of a replica, as far as its URL and the options define it.
type address struct {
	bucket string
	root   string // path in the bucket, without slashes around it
	service

	// needEndpoint is the error if the SDK is not configured with an endpoint, and the
	// address needs one.
	needEndpoint error
}

// service is the endpoint and its settings, from an address and the options. Stores with
// the same service share a client.
type service struct {
	endpoint  string // base URL; empty: AWS, or the SDK's configuration
	region    string // empty: the SDK's configuration
	style     style
	inHost    bool // the endpoint comes from a URL of the form s3://bucket.host
	accessKey accessKey
}

// accessKey is empty unless the options set it. It is a secret.
type accessKey struct{ id, secret string }

// style is how requests address the bucket.
type style int

const (
	styleUnsaid style = iota
	styleHost         // in the host name
	stylePath         // in the path
)

const auto = "auto" // the region of services without regions

// services are the services whose URLs are written s3://bucket.host/path. The groups are
// the bucket, the host and, if the host names it, the region. The host is spelled out
// because a bucket's name may contain dots, too: otherwise nothing distinguishes
// "my.bucket" on AWS from a bucket on another service.
var services = []struct {
	host   *regexp.Regexp
	region string // if the host does not name it
}{
	{host: onHost(`s3(?:\.([a-z0-9-]+))?\.amazonaws\.com(?:\.cn)?`)},
	{host: onHost(`[0-9a-f]{32}(?:\.[a-z]+)?\.r2\.cloudflarestorage\.com`), region: auto},
	{host: onHost(`([a-z0-9]+)\.digitaloceanspaces\.com`)},
	{host: onHost(`s3\.([a-z0-9-]+)\.backblazeb2\.com`)},
	{host: onHost(`s3\.wasabisys\.com`), region: "us-east-1"},
	{host: onHost(`s3\.([a-z0-9-]+)\.wasabisys\.com`)},
	{host: onHost(`fly\.storage\.tigris\.dev`), region: auto},
	{host: onHost(`t3\.storage\.dev`), region: auto},
	{host: onHost(`storage\.googleapis\.com`), region: auto},
	{host: onHost(`s3\.([a-z0-9-]+)\.scw\.cloud`)},
	{host: onHost(`([a-z0-9]+)\.your-objectstorage\.com`)},
	{host: onHost(`([a-z0-9-]+)\.linodeobjects\.com`)},
	{host: onHost(`s3\.([a-z0-9-]+)\.io\.cloud\.ovh\.net`)},
	{host: onHost(`s3\.filebase\.com`), region: "us-east-1"},
}

func onHost(host string) *regexp.Regexp {
	return regexp.MustCompile(`^(?:(.+)\.)?(` + host + `)$`)
}

const r2 = ".r2.cloudflarestorage.com"

var errR2 = errors.New("R2 needs the account ID, which the Cloudflare dashboard shows under R2, Account Details: " +
	"write s3://bucket.ACCOUNT_ID" + r2 + "/path, or set AWS_ENDPOINT_URL_S3=https://ACCOUNT_ID" + r2)

// params are the parameters of a URL's query.
var params = []string{"endpoint", "region", "forcePathStyle", "force-path-style", driver.ParamSSE, driver.ParamKMSKeyID,
	driver.ParamCustomerKeyPath, driver.ParamStorageClass, driver.ParamRequestPayer}

// parse parses a replica URL. Options override the query, and both override the host.
func parse(u *url.URL, opts storage.Options) (address, error) {
	if err := driver.CheckURL(u, params...); err != nil {
		return address{}, err
	}
	if u.Hostname() == "" {
		return address{}, errors.New("the bucket is missing: expected s3://bucket/path")
	}
	a, err := parseHost(strings.ToLower(u.Hostname()), u.Port())
	if err != nil {
		return address{}, err
	}
	a.root = driver.Root(u)
	query := u.Query()
	if e := first(opts.Endpoint, query.Get("endpoint")); e != "" {
		if a.endpoint, err = parseEndpoint(e); err != nil {
			return address{}, err
		}
		a.region = endpointRegion(a.endpoint)
		a.style, a.inHost = styleUnsaid, false
		a.needEndpoint = nil
	}
	a.region = first(opts.Region, query.Get("region"), a.region)
	for _, name := range []string{"forcePathStyle", "force-path-style"} {
		if query.Has(name) {
			b, err := strconv.ParseBool(query.Get(name))
			if err != nil {
				return address{}, fmt.Errorf("%s: expected true or false", name)
			}
			a.style = styleHost
			if b {
				a.style = stylePath
			}
		}
	}
	if opts.PathStyle {
		a.style = stylePath
	}
	if (opts.AccessKeyID == "") != (opts.SecretAccessKey == "") {
		return address{}, errors.New("an access key ID and its secret belong together: set both or neither")
	}
	a.accessKey = accessKey{opts.AccessKeyID, opts.SecretAccessKey}
	return a, nil
}

func parseHost(host, port string) (address, error) {
	if port != "" {
		return parseHostPort(host, port)
	}
	for _, s := range services {
		m := s.host.FindStringSubmatch(host)
		if m == nil {
			continue
		}
		if m[1] == "" {
			return address{}, fmt.Errorf("the bucket is missing before the host: write s3://bucket.%s/path", host)
		}
		a := address{bucket: m[1], service: service{endpoint: "https://" + m[2], region: s.region, inHost: true}}
		if len(m) > 3 {
			a.region = m[3]
		}
		if strings.Contains(m[2], "amazonaws.com") {
			a.endpoint = "" // the SDK knows AWS's endpoints better
		}
		return a, nil
	}
	if name, ok := strings.CutSuffix(host, r2); ok {
		bucket, _, _ := strings.Cut(name, ".")
		return address{bucket: bucket, service: service{region: auto}, needEndpoint: errR2}, nil
	}
	return address{bucket: host}, nil
}

// parseHostPort parses bucket.host:port, for a self-hosted server.
func parseHostPort(host, port string) (address, error) {
	bucket, server, ok := strings.Cut(host, ".")
	_, ipErr := netip.ParseAddr(host)
	if !ok || ipErr == nil {
		return address{}, fmt.Errorf("the bucket is missing before the host: write s3://bucket.%s/path", net.JoinHostPort(host, port))
	}
	endpoint, err := parseEndpoint(net.JoinHostPort(server, port))
	return address{bucket: bucket, service: service{endpoint: endpoint, style: stylePath}}, err
}

// parseEndpoint completes and checks an endpoint. Its errors never repeat it, because it
// may hold a secret.
func parseEndpoint(s string) (string, error) {
	if !strings.Contains(s, "://") {
		scheme := "https://"
		if u, err := url.Parse("//" + s); err == nil && isLocal(u.Hostname()) {
			scheme = "http://"
		}
		s = scheme + s
	}
	u, err := url.Parse(s)
	switch {
	case err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https":
		return "", errors.New("endpoint: expected https://host or http://host:port")
	case u.User != nil || u.RawQuery != "" || u.Fragment != "":
		return "", errors.New("endpoint: only a scheme, a host, a port and a path belong in it")
	}
	return strings.TrimSuffix(u.String(), "/"), nil
}

func isLocal(host string) bool {
	if ip, err := netip.ParseAddr(host); err == nil {
		return ip.IsLoopback()
	}
	return host == "localhost" || strings.HasSuffix(host, ".localhost")
}

// endpointRegion returns the region that an endpoint's host names, if known.
func endpointRegion(endpoint string) string {
	u, err := url.Parse(endpoint)
	if err != nil {
		return ""
	}
	for _, s := range services {
		if m := s.host.FindStringSubmatch(u.Hostname()); m != nil {
			if len(m) > 3 {
				return m[3]
			}
			return s.region
		}
	}
	return ""
}

// defaultPathStyle reports whether requests to an endpoint put the bucket in the path by
// default. Self-hosted servers rarely have a DNS name for each bucket. Tigris does, and
// refuses the path style for newer buckets.
func defaultPathStyle(endpoint string) bool {
	u, err := url.Parse(endpoint)
	if err != nil {
		return true
	}
	host := u.Hostname()
	return host != "t3.storage.dev" && host != "fly.storage.tigris.dev" && !isAWS(endpoint)
}

func isAWS(endpoint string) bool {
	u, err := url.Parse(endpoint)
	return err == nil && (strings.HasSuffix(u.Hostname(), ".amazonaws.com") || strings.HasSuffix(u.Hostname(), ".amazonaws.com.cn"))
}

func first(values ...string) string {
	for _, v := range values {
		if v != "" {
			return v
		}
	}
	return ""
}
