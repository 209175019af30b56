package s3

import (
	"context"

	"github.com/aws/aws-sdk-go-v2/aws"

	"github.com/walvfs/walvfs/shipper/storage/internal/driver"
)

// provider returns the SDK's credentials and reads them again when the service refuses
// them: the SDK keeps credentials from a file as long as the process runs, and
// credentials of a role until they expire. It marks errors of the credentials, which the
// SDK does not.
type provider struct {
	driver.Fresh[aws.CredentialsProvider]
}

func newProvider(first aws.CredentialsProvider, svc service) *provider {
	p := &provider{}
	p.Load = func() (aws.CredentialsProvider, error) {
		if c := first; c != nil {
			first = nil
			return c, nil
		}
		cfg, err := loadConfig(svc)
		return cfg.Credentials, err
	}
	return p
}

type credentialsError struct{ error }

func (e credentialsError) Unwrap() error { return e.error }

func (p *provider) Retrieve(ctx context.Context) (aws.Credentials, error) {
	credentials, err := p.Get()
	if err != nil {
		return aws.Credentials{}, credentialsError{err}
	}
	c, err := credentials.Retrieve(ctx)
	if err != nil && ctx.Err() == nil {
		err = credentialsError{err}
	}
	return c, err
}

// refused makes the next request read the credentials again.
func (s *Store) refused() {
	if s.provider != nil {
		s.provider.Refused()
	}
}
