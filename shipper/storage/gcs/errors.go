package gcs

import (
	"errors"
	"fmt"
	"net/http"
	"strings"

	gcs "cloud.google.com/go/storage"
	"google.golang.org/api/googleapi"

	"github.com/walvfs/walvfs/shipper/storage"
	"github.com/walvfs/walvfs/shipper/storage/internal/driver"
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

// isNoBucket distinguishes a missing bucket from a missing object: both are 404, and only
// the text differs.
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

// fail returns the error's meaning for the caller and a hint.
func (s *Store) fail(op, key string, err error) error {
	return driver.Fail(op, s.url, key, err, brief, s.explain, s.refused)
}

// explain returns a remedy for an error, if known, and its sentinel, or nil if a retry
// soon may help.
func (s *Store) explain(op string, err error) (hint string, sentinel error) {
	var creds credentialsError
	if errors.As(err, &creds) || isTokenError(err) {
		return "no usable credentials: set GOOGLE_APPLICATION_CREDENTIALS, run gcloud auth application-default login, or give the machine a service account", storage.ErrPermission
	}
	switch code := status(err); {
	case errors.Is(err, driver.ErrForeign):
		return driver.HintForeign, nil
	case isNoBucket(err), op == "create" && code == http.StatusNotFound, op == "list" && code == http.StatusNotFound:
		return "create the bucket, or correct its name; walvfs does not create buckets", storage.ErrNoBucket
	case op == "create" && code == http.StatusPreconditionFailed:
		return "", storage.ErrExists
	case op == "create" && code == http.StatusNotImplemented:
		return storage.HintNoCondition, storage.ErrNoCondition
	case errors.Is(err, gcs.ErrObjectNotExist), op == "open" && code == http.StatusNotFound:
		return "", storage.ErrNotExist
	case code == http.StatusUnauthorized:
		return "the credentials were refused: renew them, and check this machine's clock", storage.ErrPermission
	case code == http.StatusForbidden:
		hint := "the service account needs storage.objects." + actions[op] + " on the bucket"
		if s.settings.KMSKeyID != "" {
			hint += ", and Google's own service agent needs cloudkms.cryptoKeyEncrypterDecrypter on the key"
		}
		return hint, storage.ErrPermission
	case code == http.StatusBadRequest && strings.Contains(strings.ToLower(err.Error()), "requester pays"):
		return "set user-project= in the URL to the project that pays", storage.ErrRefused
	case code == http.StatusBadRequest && strings.Contains(strings.ToLower(err.Error()), "encrypt"):
		return "the object was written with another key: check sse-customer-key-path and " + storage.EnvCustomerKey, storage.ErrRefused
	case permanent(code):
		return "", storage.ErrRefused
	}
	return "", nil
}

// permanent reports whether the service answered that the request is wrong. 410 ends an
// upload in pieces, and a retry is another upload.
func permanent(code int) bool {
	switch code {
	case http.StatusRequestTimeout, http.StatusConflict, http.StatusGone, http.StatusTooEarly, http.StatusTooManyRequests:
		return false
	}
	return code >= 400 && code < 500 || code == http.StatusNotImplemented
}

// actions are the permissions that operations need.
var actions = map[string]string{"list": "list", "open": "get", "create": "create", "delete": "delete"}

// isTokenError: the credentials were found, but yielded no token. The client libraries'
// errors for that are in internal packages or differ by source.
func isTokenError(err error) bool {
	text := err.Error()
	return strings.Contains(text, "oauth2: cannot fetch token") || strings.Contains(text, "credentials: cannot fetch token") ||
		strings.Contains(text, "auth: cannot fetch token") || strings.Contains(text, "invalid_grant")
}

// brief shortens the service's description of an error, which may be a page of HTML or
// XML.
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
	return &driver.Brief{Text: fmt.Sprintf("%s, HTTP %d", text, api.Code), Err: err}
}
