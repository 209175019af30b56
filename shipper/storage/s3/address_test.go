package s3

import (
	"context"
	"net/url"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"

	"github.com/walvfs/walvfs/shipper/storage"
)

const (
	account = "0123456789abcdef0123456789abcdef"
	custom  = "http://127.0.0.1:9000"
)

// clearEnv removes the machine's AWS configuration.
func clearEnv(t *testing.T) {
	for _, name := range []string{
		"AWS_REGION", "AWS_DEFAULT_REGION", "AWS_PROFILE", "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_CA_BUNDLE",
		"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_CONTAINER_CREDENTIALS_FULL_URI",
		"AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "AWS_WEB_IDENTITY_TOKEN_FILE",
	} {
		t.Setenv(name, "")
	}
	t.Setenv("AWS_CONFIG_FILE", t.TempDir()+"/none")
	t.Setenv("AWS_SHARED_CREDENTIALS_FILE", t.TempDir()+"/none")
	t.Setenv("AWS_EC2_METADATA_DISABLED", "true")
}

func openURL(t *testing.T, rawURL string, opts storage.Options) (*Store, error) {
	t.Helper()
	u, err := url.Parse(rawURL)
	if err != nil {
		t.Fatal(err)
	}
	return Open(context.Background(), u, opts)
}

// addresses are the results of URLs, options and the environment together.
var addresses = []struct {
	url      string
	opts     storage.Options
	env      string // NAME=value ...
	bucket   string
	root     string
	endpoint string
	region   string
	path     bool // path style
}{
	{url: "s3://b/p", bucket: "b", root: "p/", region: "us-east-1"},
	{url: "s3://b", bucket: "b", region: "us-east-1"},
	{url: "s3://b/p//q/", bucket: "b", root: "p/q/", region: "us-east-1"},
	{url: "s3://my.dotted.bucket.com/p", bucket: "my.dotted.bucket.com", root: "p/", region: "us-east-1"},
	{url: "s3://b/p", env: "AWS_REGION=eu-west-1", bucket: "b", root: "p/", region: "eu-west-1"},
	{url: "s3://b/p?region=eu-west-2", env: "AWS_REGION=eu-west-1", bucket: "b", root: "p/", region: "eu-west-2"},
	{url: "s3://b/p?region=eu-west-2", opts: storage.Options{Region: "eu-west-3"}, bucket: "b", root: "p/", region: "eu-west-3"},
	{url: "s3://my.b.s3.eu-west-1.amazonaws.com/p", bucket: "my.b", root: "p/", region: "eu-west-1"},
	{url: "s3://b.s3.amazonaws.com/p", bucket: "b", root: "p/", region: "us-east-1"},

	{url: "s3://b." + account + ".r2.cloudflarestorage.com/p", env: "AWS_REGION=eu-west-1",
		bucket: "b", root: "p/", endpoint: "https://" + account + ".r2.cloudflarestorage.com", region: "auto"},
	{url: "s3://b." + account + ".eu.r2.cloudflarestorage.com/p",
		bucket: "b", root: "p/", endpoint: "https://" + account + ".eu.r2.cloudflarestorage.com", region: "auto"},
	{url: "s3://b.r2.cloudflarestorage.com/p", opts: storage.Options{Endpoint: custom},
		bucket: "b", root: "p/", endpoint: custom, region: "us-east-1", path: true},
	{url: "s3://b.r2.cloudflarestorage.com/p?endpoint=" + account + ".r2.cloudflarestorage.com",
		bucket: "b", root: "p/", endpoint: "https://" + account + ".r2.cloudflarestorage.com", region: "auto", path: true},
	{url: "s3://b.r2.cloudflarestorage.com/p", env: "AWS_ENDPOINT_URL=" + custom,
		bucket: "b", root: "p/", endpoint: custom, region: "auto", path: true},

	{url: "s3://b.nyc3.digitaloceanspaces.com/p", bucket: "b", root: "p/", endpoint: "https://nyc3.digitaloceanspaces.com", region: "nyc3"},
	{url: "s3://my.b.s3.us-west-004.backblazeb2.com/p", bucket: "my.b", root: "p/", endpoint: "https://s3.us-west-004.backblazeb2.com", region: "us-west-004"},
	{url: "s3://b.s3.wasabisys.com/p", bucket: "b", root: "p/", endpoint: "https://s3.wasabisys.com", region: "us-east-1"},
	{url: "s3://b.s3.eu-central-1.wasabisys.com/p", bucket: "b", root: "p/", endpoint: "https://s3.eu-central-1.wasabisys.com", region: "eu-central-1"},
	{url: "s3://b.fly.storage.tigris.dev/p", bucket: "b", root: "p/", endpoint: "https://fly.storage.tigris.dev", region: "auto"},
	{url: "s3://b.t3.storage.dev/p", bucket: "b", root: "p/", endpoint: "https://t3.storage.dev", region: "auto"},
	{url: "s3://b.storage.googleapis.com/p", bucket: "b", root: "p/", endpoint: "https://storage.googleapis.com", region: "auto"},
	{url: "s3://b.s3.nl-ams.scw.cloud/p", bucket: "b", root: "p/", endpoint: "https://s3.nl-ams.scw.cloud", region: "nl-ams"},

	{url: "s3://b.localhost:9000/p", bucket: "b", root: "p/", endpoint: "http://localhost:9000", region: "us-east-1", path: true},
	{url: "s3://b.127.0.0.1:9000/p", bucket: "b", root: "p/", endpoint: custom, region: "us-east-1", path: true},
	{url: "s3://b.minio.example.com:9000/p", bucket: "b", root: "p/", endpoint: "https://minio.example.com:9000", region: "us-east-1", path: true},
	{url: "s3://b/p?endpoint=localhost:9000", bucket: "b", root: "p/", endpoint: "http://localhost:9000", region: "us-east-1", path: true},
	{url: "s3://b/p?endpoint=https://x.example/base/&forcePathStyle=false", bucket: "b", root: "p/", endpoint: "https://x.example/base", region: "us-east-1"},
	{url: "s3://b/p?force-path-style=true", bucket: "b", root: "p/", region: "us-east-1", path: true},
	{url: "s3://b/p?endpoint=https://x.example", opts: storage.Options{Endpoint: custom}, env: "AWS_ENDPOINT_URL_S3=http://env",
		bucket: "b", root: "p/", endpoint: custom, region: "us-east-1", path: true},
	{url: "s3://b/p?endpoint=https://t3.storage.dev", bucket: "b", root: "p/", endpoint: "https://t3.storage.dev", region: "auto"},
	{url: "s3://b.c/p", env: "AWS_ENDPOINT_URL_S3=" + custom, bucket: "b.c", root: "p/", endpoint: custom, region: "us-east-1", path: true},
}

func TestAddress(t *testing.T) {
	for _, c := range addresses {
		t.Run(c.url, func(t *testing.T) {
			clearEnv(t)
			if name, value, ok := strings.Cut(c.env, "="); ok {
				t.Setenv(name, value)
			} else {
				// An empty variable counts as "configured" in the SDK's endpoint look-up.
				unsetenv(t, "AWS_ENDPOINT_URL")
				unsetenv(t, "AWS_ENDPOINT_URL_S3")
			}
			s, err := openURL(t, c.url, c.opts)
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			o := s.client.Options()
			if s.bucket != c.bucket || s.root != c.root || aws.ToString(o.BaseEndpoint) != c.endpoint || o.Region != c.region || o.UsePathStyle != c.path {
				t.Errorf("got bucket %q, root %q, endpoint %q, region %q, path style %v",
					s.bucket, s.root, aws.ToString(o.BaseEndpoint), o.Region, o.UsePathStyle)
			}
			if want := c.endpoint != ""; (o.RequestChecksumCalculation == aws.RequestChecksumCalculationWhenRequired) != want {
				t.Errorf("checksums only when required: %v, want %v", !want, want)
			}
		})
	}
}

func TestAddressErrors(t *testing.T) {
	clearEnv(t)
	unsetenv(t, "AWS_ENDPOINT_URL")
	unsetenv(t, "AWS_ENDPOINT_URL_S3")
	for _, c := range []struct {
		url  string
		opts storage.Options
		want string
	}{
		{url: "s3:///p", want: "bucket is missing"},
		{url: "s3://b.r2.cloudflarestorage.com/p", want: "account ID"},
		{url: "s3://b.eu.r2.cloudflarestorage.com/p", want: "account ID"},
		{url: "s3://" + account + ".r2.cloudflarestorage.com/b", want: "bucket is missing"},
		{url: "s3://nyc3.digitaloceanspaces.com/b", want: "s3://bucket.nyc3"},
		{url: "s3://localhost:9000/b", want: "s3://bucket.localhost:9000/path"},
		{url: "s3://127.0.0.1:9000/b", want: "s3://bucket.127.0.0.1:9000/path"},
		{url: "s3://b/p?regoin=x", want: `"regoin"`},
		{url: "s3://b/p?endpoint=ftp://x", want: "endpoint: expected"},
		{url: "s3://b/p?endpoint=http://u:hunter2@x", want: "endpoint: only"},
		{url: "s3://b/p?forcePathStyle=maybe", want: "true or false"},
		{url: "s3://key:hunter2@b/p", want: "credentials do not belong"},
		{url: "s3://b/p#x", want: "%23"},
		{url: "s3://b/p", opts: storage.Options{AccessKeyID: "a"}, want: "belong together"},
	} {
		_, err := openURL(t, c.url, c.opts)
		if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: got %v, want %q", c.url, err, c.want)
		}
	}
}
