package s3

import (
	"errors"
	"fmt"
	"net/http"
	"strings"

	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/smithy-go"

	"github.com/walvfs/walvfs/shipper/storage"
	"github.com/walvfs/walvfs/shipper/storage/internal/driver"
)

func apiCode(err error) string {
	var api smithy.APIError
	if errors.As(err, &api) {
		return api.ErrorCode()
	}
	return ""
}

func status(err error) int {
	var resp *awshttp.ResponseError
	if errors.As(err, &resp) {
		return resp.HTTPStatusCode()
	}
	return 0
}

// isConflict: a concurrent request for the key made this request fail, perhaps without
// creating an object.
func isConflict(err error) bool { return status(err) == http.StatusConflict }

func isNoKey(err error) bool {
	switch apiCode(err) {
	case "NoSuchKey", "NotFound":
		return true
	}
	return false
}

// refusesCondition: the service does not support put-if-absent. Services report that with
// 501, or with a 400 that names the header.
func refusesCondition(err error) bool {
	if apiCode(err) == "NotImplemented" || status(err) == http.StatusNotImplemented {
		return true
	}
	var api smithy.APIError
	if status(err) != http.StatusBadRequest || !errors.As(err, &api) {
		return false
	}
	msg := strings.ToLower(api.ErrorMessage())
	return strings.Contains(msg, "if-none-match") || strings.Contains(msg, "conditional") || strings.Contains(msg, "precondition")
}

// wantsChecksum reports whether the service wants a checksum of a body, as it does for a
// bucket that locks objects by default.
func wantsChecksum(err error) bool {
	var api smithy.APIError
	if !errors.As(err, &api) || status(err) != http.StatusBadRequest {
		return false
	}
	msg := strings.ToLower(api.ErrorMessage())
	return api.ErrorCode() == "MissingContentMD5" || strings.Contains(msg, "content-md5") && strings.Contains(msg, "required")
}

// permanent reports whether the service answered that the request is wrong, rather than
// that the connection failed or the service is busy.
func permanent(err error) bool {
	switch apiCode(err) {
	case "RequestTimeout", "BadDigest", "IncompleteBody", "XAmzContentSHA256Mismatch", "XAmzContentChecksumMismatch",
		"SlowDown", "Throttling", "ThrottlingException", "NoSuchUpload", "InvalidPart":
		return false
	}
	switch code := status(err); code {
	case http.StatusRequestTimeout, http.StatusConflict, http.StatusTooEarly, http.StatusTooManyRequests:
		return false
	default:
		return code >= 400 && code < 500 || code == http.StatusNotImplemented
	}
}

// fail returns the error's meaning for the caller and a hint.
func (s *Store) fail(op, key string, err error) error {
	return driver.Fail(op, s.url, key, err, brief, s.explain, s.refused)
}

// explain returns a remedy for an error, if known, and its sentinel, or nil if a retry
// soon may help.
func (s *Store) explain(op string, err error) (hint string, sentinel error) {
	var creds credentialsError
	if errors.As(err, &creds) {
		return "no usable credentials: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, a profile in AWS_PROFILE, or give the machine a role", storage.ErrPermission
	}
	switch code := apiCode(err); code {
	case "NoSuchBucket":
		return "create the bucket, or correct its name or the endpoint; walvfs does not create buckets", storage.ErrNoBucket
	case "RequestTimeTooSkewed":
		return "set this machine's clock: it differs from the service's by more than 15 minutes", storage.ErrPermission
	case "ExpiredToken", "ExpiredTokenException", "TokenRefreshRequired":
		return "the credentials have expired: renew them", storage.ErrPermission
	case "InvalidAccessKeyId", "InvalidToken", "UnrecognizedClientException",
		"XAdminUserNotFound": // from the Versity gateway, with a 404
		return "the service does not know the access key: check AWS_ACCESS_KEY_ID, and that it is this endpoint's", storage.ErrPermission
	case "SignatureDoesNotMatch":
		return "the secret key does not fit the access key, or a proxy changes signed headers: check AWS_SECRET_ACCESS_KEY, the region, and what is between this machine and the service", storage.ErrPermission
	case "PermanentRedirect", "AuthorizationHeaderMalformed", "IllegalLocationConstraintException":
		if r := bucketRegion(err); r != "" {
			return "the bucket is in region " + r + ": set region=" + r + " in the URL or AWS_REGION=" + r, storage.ErrRefused
		}
		return "the bucket is in another region: set region= in the URL or AWS_REGION", storage.ErrRefused
	case "InvalidObjectState":
		return "the object was moved to an archive: restore it there, and exclude the replica from the bucket's lifecycle rules", storage.ErrRefused
	case "KMS.DisabledException", "KMS.NotFoundException", "KMS.KMSInvalidStateException":
		return "check the key in KMS that sse-kms-key-id or the bucket names", storage.ErrRefused
	}
	switch {
	case errors.Is(err, driver.ErrForeign):
		return driver.HintForeign, nil
	case op == "create" && status(err) == http.StatusPreconditionFailed:
		return "", storage.ErrExists
	case op == "create" && (refusesCondition(err) || errors.Is(err, storage.ErrNoCondition)):
		return storage.HintNoCondition, storage.ErrNoCondition
	case op == "open" && isNoKey(err): // no other 404: it may come from a wrong endpoint
		return "", storage.ErrNotExist
	case apiCode(err) == "AccessDenied" || status(err) == http.StatusForbidden || status(err) == http.StatusUnauthorized:
		return s.deniedHint(op), storage.ErrPermission
	case wantsCustomerKey(err):
		return "the object was written with another encryption: check sse-customer-key-path and " + storage.EnvCustomerKey, storage.ErrRefused
	case permanent(err):
		return "", storage.ErrRefused
	}
	return "", nil
}

// deniedHint describes the likely cause of a refusal without a reason.
func (s *Store) deniedHint(op string) string {
	hint := "the credentials need s3:" + actions[op] + " on the bucket and path"
	if op == "create" && s.settings.sse == "" && s.settings.customer.key == nil {
		hint += "; or a bucket policy demands encryption: set sse=AES256 or sse=aws:kms"
	}
	if s.settings.kmsKeyID != nil || s.settings.sse == types.ServerSideEncryptionAwsKms {
		hint += ", and kms:GenerateDataKey and kms:Decrypt on the key"
	}
	if s.settings.payer == "" && s.client.Options().BaseEndpoint == nil {
		hint += "; a bucket whose requester pays needs request-payer=requester"
	}
	return hint
}

// wantsCustomerKey reports whether an object cannot be read with the customer key in the
// request, or without a key.
func wantsCustomerKey(err error) bool {
	var api smithy.APIError
	if status(err) != http.StatusBadRequest || !errors.As(err, &api) {
		return false
	}
	msg := strings.ToLower(api.ErrorMessage())
	return strings.Contains(msg, "server side encryption") || strings.Contains(msg, "encryption parameters")
}

// actions are the permissions that operations need.
var actions = map[string]string{
	"list":   "ListBucket",
	"open":   "GetObject, and ListBucket to tell a missing object from a forbidden one,",
	"create": "PutObject",
	"delete": "DeleteObject",
}

// bucketRegion returns the bucket's region from the service's answer.
func bucketRegion(err error) string {
	var resp *awshttp.ResponseError
	if errors.As(err, &resp) && resp.Response != nil {
		return resp.Response.Header.Get("X-Amz-Bucket-Region")
	}
	return ""
}

// brief shortens the SDK's description of an error, which names the operation, the host
// ID and more that the reader knows or cannot use.
func brief(err error) error {
	var api smithy.APIError
	var resp *awshttp.ResponseError
	if !errors.As(err, &api) || !errors.As(err, &resp) {
		return err
	}
	text := api.ErrorCode()
	if m := api.ErrorMessage(); m != "" {
		text += ": " + m
	}
	text += fmt.Sprintf(", HTTP %d", resp.HTTPStatusCode())
	if id := resp.ServiceRequestID(); id != "" {
		text += ", request " + id
	}
	var abort *abortError
	if errors.As(err, &abort) {
		text += "; " + abort.Error()
	}
	return &driver.Brief{Text: text, Err: err}
}
