package s3

import (
	"context"
	"fmt"
	"net/http"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/smithy-go/logging"

	"github.com/walvfs/walvfs/shipper/storage/internal/driver"
)

// client is shared by the stores of a service: the SDK's client, with its connections and
// its credentials. It reads the SDK's environment and files when it is built, and
// credentials again when the service refuses them.
type client struct {
	sdk       *s3.Client
	provider  *provider // nil: requests are not signed
	transport *driver.Transport
}

type lease = driver.Lease[service, *client]

var clients = driver.NewPool(newClient, func(c *client) { c.transport.Close() })

func newClient(svc service) (*client, error) {
	cfg, err := loadConfig(svc)
	if err != nil {
		return nil, err
	}
	c := &client{transport: &driver.Transport{Transport: cfg.HTTPClient.(*awshttp.BuildableClient).GetTransport()}}
	if cfg.Credentials != nil && !aws.IsCredentialsProvider(cfg.Credentials, aws.AnonymousCredentials{}) {
		c.provider = newProvider(cfg.Credentials, svc)
		cfg.Credentials = c.provider
	}
	c.sdk = s3.NewFromConfig(cfg, func(o *s3.Options) { configure(o, svc, httpClient(c.transport)) })
	return c, nil
}

func loadConfig(svc service) (aws.Config, error) {
	load := []func(*config.LoadOptions) error{
		// A plain http.Client would not let the SDK add AWS_CA_BUNDLE's
		// certificates, and loading would fail.
		config.WithHTTPClient(awshttp.NewBuildableClient().WithTransportOptions(driver.Tune)),
		config.WithLogger(logging.Nop{}),
	}
	if svc.accessKey.id != "" {
		load = append(load, config.WithCredentialsProvider(
			credentials.NewStaticCredentialsProvider(svc.accessKey.id, svc.accessKey.secret, "")))
	}
	cfg, err := config.LoadDefaultConfig(context.Background(), load...)
	if err != nil {
		return aws.Config{}, fmt.Errorf("the AWS configuration cannot be loaded: %w", err)
	}
	cfg.Region = first(svc.region, cfg.Region, "us-east-1")
	return cfg, nil
}

// httpClient returns a client with the SDK's transport, including its certificates.
// Unlike the SDK's client, it can be closed.
func httpClient(transport http.RoundTripper) *http.Client {
	return &http.Client{
		Transport: transport,
		// Other redirects drop the method, and S3's have no location.
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

func configure(o *s3.Options, svc service, client *http.Client) {
	o.HTTPClient = client
	o.DisableLogOutputChecksumValidationSkipped = true
	if svc.endpoint != "" {
		o.BaseEndpoint = &svc.endpoint
	}
	endpoint := aws.ToString(o.BaseEndpoint)
	switch {
	case svc.style != styleUnsaid:
		o.UsePathStyle = svc.style == stylePath
	case endpoint != "":
		// A service in the URL's own host has a host name for each bucket.
		o.UsePathStyle = !svc.inHost && defaultPathStyle(endpoint)
	}
	if svc.region == "" && endpoint != "" {
		if r := endpointRegion(endpoint); r != "" {
			o.Region = r // the SDK's environment may be meant for AWS
		}
	}
	if endpoint != "" && !isAWS(endpoint) {
		leaveUnsigned(o)
		// Several compatible services refuse the CRC32 trailers that the SDK sends by default.
		o.RequestChecksumCalculation = aws.RequestChecksumCalculationWhenRequired
		o.ResponseChecksumValidation = aws.ResponseChecksumValidationWhenRequired
	}
}
