package s3

import (
	"crypto/md5"
	"encoding/base64"
	"errors"
	"fmt"
	"net/url"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/walvfs/walvfs/shipper/storage"
	"github.com/walvfs/walvfs/shipper/storage/internal/driver"
)

// settings are how objects are stored, in the SDK's types. The zero value leaves
// everything to the bucket.
type settings struct {
	sse      types.ServerSideEncryption
	kmsKeyID *string
	customer customerKey
	class    types.StorageClass
	payer    types.RequestPayer // of each request
}

// customerKey is part of each request that writes or reads an object's bytes or metadata:
// https://docs.aws.amazon.com/AmazonS3/latest/userguide/ServerSideEncryptionCustomerKeys.html
type customerKey struct{ algorithm, key, md5 *string }

// readSettings reads settings, and checks them as far as possible without a request.
func readSettings(q url.Values, opts storage.Options) (settings, error) {
	d, err := driver.ReadSettings(q, opts)
	if err != nil {
		return settings{}, err
	}
	s := settings{
		sse:   types.ServerSideEncryption(d.SSE),
		class: types.StorageClass(strings.ToUpper(d.StorageClass)),
		payer: types.RequestPayer(first(opts.RequestPayer, q.Get(driver.ParamRequestPayer))),
	}
	if d.KMSKeyID != "" {
		s.kmsKeyID = &d.KMSKeyID
		if s.sse == "" {
			s.sse = types.ServerSideEncryptionAwsKms
		}
	}
	if d.CustomerKey != "" {
		s.customer = newCustomerKey(d.CustomerKey)
	}
	return s, s.check()
}

func newCustomerKey(key string) customerKey {
	sum := md5.Sum([]byte(key))
	return customerKey{
		algorithm: aws.String("AES256"),
		key:       aws.String(base64.StdEncoding.EncodeToString([]byte(key))),
		md5:       aws.String(base64.StdEncoding.EncodeToString(sum[:])),
	}
}

func (s settings) check() error {
	switch s.sse {
	case "", types.ServerSideEncryptionAes256, types.ServerSideEncryptionAwsKms, types.ServerSideEncryptionAwsKmsDsse:
	default:
		return fmt.Errorf("%s: expected AES256, aws:kms or aws:kms:dsse", driver.ParamSSE)
	}
	switch {
	case s.kmsKeyID != nil && s.sse == types.ServerSideEncryptionAes256:
		return fmt.Errorf("%s needs sse=aws:kms", driver.ParamKMSKeyID)
	case s.class == types.StorageClassGlacier || s.class == types.StorageClassDeepArchive:
		return fmt.Errorf("%s: objects in %s cannot be read until they are restored (GLACIER_IR can)", driver.ParamStorageClass, s.class)
	case s.payer != "" && s.payer != types.RequestPayerRequester:
		return fmt.Errorf("%s: expected requester", driver.ParamRequestPayer)
	}
	return nil
}

// checkEndpoint refuses to send a customer key unencrypted over a network.
func (s settings) checkEndpoint(endpoint string) error {
	u, err := url.Parse(endpoint)
	if s.customer.key != nil && err == nil && u.Scheme == "http" && !isLocal(u.Hostname()) {
		return errors.New("a customer key is not sent over http: use an https endpoint")
	}
	return nil
}
