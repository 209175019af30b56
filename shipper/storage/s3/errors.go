package s3

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/smithy-go"

	"github.com/walvfs/walvfs/shipper/storage"
)

// provider marks errors of the credentials, which the SDK does not.
type provider struct{ aws.CredentialsProvider }

type credentialsError struct{ error }

func (e credentialsError) Unwrap() error { return e.error }

func (p *provider) Retrieve(ctx context.Context) (aws.Credentials, error) {
	c, err := p.CredentialsProvider.Retrieve(ctx)
	if err != nil && ctx.Err() == nil {
		err = credentialsError{err}
	}
	return c, err
}

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

// isConflict: a concurrent request for the key made this one fail, maybe
// without having made an object.
func isConflict(err error) bool { return status(err) == http.StatusConflict }

func isNoKey(err error) bool {
	switch apiCode(err) {
	case "NoSuchKey", "NotFound":
		return true
	}
	return false
}

// refusesCondition: put-if-absent is not known here. Services say so with 501,
// or with a 400 that names the header.
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

// fail says what an error means for the caller and what may help.
func (s *Store) fail(op, key string, err error) error {
	var done *storage.Error
	if errors.As(err, &done) {
		return err
	}
	e := &storage.Error{Op: op, URL: s.url, Key: key, Err: brief(err)}
	mark := func(sentinel error, hint string) error {
		e.Err, e.Hint = fmt.Errorf("%w: %w", sentinel, e.Err), hint
		return e
	}
	var creds credentialsError
	if errors.As(err, &creds) {
		return mark(storage.ErrPermission, "no usable credentials: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, a profile in AWS_PROFILE, or give the machine a role")
	}
	switch code := apiCode(err); code {
	case "NoSuchBucket":
		return mark(storage.ErrNoBucket, "create the bucket, or correct its name or the endpoint; walvfs does not create buckets")
	case "RequestTimeTooSkewed":
		return mark(storage.ErrPermission, "set this machine's clock: it differs from the service's by more than 15 minutes")
	case "ExpiredToken", "ExpiredTokenException", "TokenRefreshRequired":
		return mark(storage.ErrPermission, "the credentials have expired: renew them")
	case "InvalidAccessKeyId", "InvalidToken", "UnrecognizedClientException",
		"XAdminUserNotFound": // the Versity gateway's, with a 404
		return mark(storage.ErrPermission, "the service does not know the access key: check AWS_ACCESS_KEY_ID, and that it is this endpoint's")
	case "SignatureDoesNotMatch":
		return mark(storage.ErrPermission, "the secret key does not fit the access key: check AWS_SECRET_ACCESS_KEY and the region")
	case "PermanentRedirect", "AuthorizationHeaderMalformed", "IllegalLocationConstraintException":
		e.Hint = "the bucket is in another region: set region= in the URL or AWS_REGION"
		if r := bucketRegion(err); r != "" {
			e.Hint = "the bucket is in region " + r + ": set region=" + r + " in the URL or AWS_REGION=" + r
		}
		return e
	}
	switch {
	case op == "create" && status(err) == http.StatusPreconditionFailed:
		return mark(storage.ErrExists, "")
	case op == "create" && refusesCondition(err):
		return mark(storage.ErrNoCondition, "the service cannot keep two writers apart; see the fencing parameter")
	case op == "open" && isNoKey(err): // no other 404: it may be a wrong endpoint's
		return mark(storage.ErrNotExist, "")
	case apiCode(err) == "AccessDenied" || status(err) == http.StatusForbidden || status(err) == http.StatusUnauthorized:
		return mark(storage.ErrPermission, "the credentials need s3:"+actions[op]+" on the bucket and path")
	}
	return e
}

// actions are the permissions that operations need.
var actions = map[string]string{
	"list":   "ListBucket",
	"open":   "GetObject, and ListBucket to tell a missing object from a forbidden one,",
	"create": "PutObject",
	"delete": "DeleteObject",
}

// bucketRegion is what the service says of where the bucket is.
func bucketRegion(err error) string {
	var resp *awshttp.ResponseError
	if errors.As(err, &resp) && resp.Response != nil {
		return resp.Response.Header.Get("X-Amz-Bucket-Region")
	}
	return ""
}

// brief shortens the SDK's account of an error, which names the operation, the
// host ID and more of what the reader knows or cannot use.
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
	return &briefError{text, err}
}

type briefError struct {
	text string
	err  error
}

func (e *briefError) Error() string { return e.text }
func (e *briefError) Unwrap() error { return e.err }
