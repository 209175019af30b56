package gcs

import (
	"errors"
	"fmt"
	"net/http"
	"strings"

	gcs "cloud.google.com/go/storage"
	"google.golang.org/api/googleapi"

	"github.com/walvfs/walvfs/shipper/storage"
)

// credentialsError marks a failed search for credentials.
type credentialsError struct{ error }

func (e credentialsError) Unwrap() error { return e.error }

func status(err error) int {
	var api *googleapi.Error
	if errors.As(err, &api) {
		return api.Code
	}
	return 0
}

// isNoBucket tells a missing bucket from a missing object: both are 404, and
// only the text differs.
func isNoBucket(err error) bool {
	if errors.Is(err, gcs.ErrBucketNotExist) {
		return true
	}
	var api *googleapi.Error
	if !errors.As(err, &api) || api.Code != http.StatusNotFound {
		return false
	}
	text := api.Message + api.Body
	return strings.Contains(text, "NoSuchBucket") || strings.Contains(text, "bucket does not exist")
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
	if errors.As(err, &creds) || isTokenError(err) {
		return mark(storage.ErrPermission, "no usable credentials: set GOOGLE_APPLICATION_CREDENTIALS, run gcloud auth application-default login, or give the machine a service account")
	}
	switch code := status(err); {
	case isNoBucket(err), op == "create" && code == http.StatusNotFound, op == "list" && code == http.StatusNotFound:
		return mark(storage.ErrNoBucket, "create the bucket, or correct its name; walvfs does not create buckets")
	case op == "create" && code == http.StatusPreconditionFailed:
		return mark(storage.ErrExists, "")
	case op == "create" && code == http.StatusNotImplemented:
		return mark(storage.ErrNoCondition, "the service cannot keep two writers apart; see the fencing parameter")
	case errors.Is(err, gcs.ErrObjectNotExist), op == "open" && code == http.StatusNotFound:
		return mark(storage.ErrNotExist, "")
	case code == http.StatusUnauthorized:
		return mark(storage.ErrPermission, "the credentials were refused: renew them, and check this machine's clock")
	case code == http.StatusForbidden:
		return mark(storage.ErrPermission, "the service account needs storage.objects."+actions[op]+" on the bucket")
	}
	return e
}

// actions are the permissions that operations need.
var actions = map[string]string{"list": "list", "open": "get", "create": "create", "delete": "delete"}

// isTokenError: the credentials were found, but gave no token. The client
// libraries' errors for it are in internal packages or differ by source.
func isTokenError(err error) bool {
	text := err.Error()
	return strings.Contains(text, "oauth2: cannot fetch token") || strings.Contains(text, "credentials: cannot fetch token") ||
		strings.Contains(text, "auth: cannot fetch token") || strings.Contains(text, "invalid_grant")
}

// brief shortens the service's account of an error, which may be a page of
// HTML or XML.
func brief(err error) error {
	var api *googleapi.Error
	if !errors.As(err, &api) {
		return err
	}
	text := api.Message
	if text == "" {
		text, _, _ = strings.Cut(strings.TrimSpace(api.Body), "\n")
	}
	const most = 300
	if len(text) > most {
		text = text[:most] + "..."
	}
	if text == "" {
		text = http.StatusText(api.Code)
	}
	return &briefError{fmt.Sprintf("%s, HTTP %d", text, api.Code), err}
}

type briefError struct {
	text string
	err  error
}

func (e *briefError) Error() string { return e.text }
func (e *briefError) Unwrap() error { return e.err }
