package gcs

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/walvfs/walvfs/shipper/storage/internal/driver"
)

// strict checks that answers come from the service. The client accepts any JSON as a
// listing without objects, and any bytes as an object's.
type strict struct{ http.RoundTripper }

// RoundTrip implements [http.RoundTripper].
func (s strict) RoundTrip(req *http.Request) (*http.Response, error) {
	listing := isListing(req)
	if listing {
		req = withKind(req)
	}
	resp, err := s.RoundTripper.RoundTrip(req)
	if err != nil || resp.StatusCode/100 != 2 {
		return resp, err
	}
	switch {
	case listing:
		err = checkListing(resp, req.URL.Query().Get("pageToken"))
	case isRead(req):
		err = checkRead(resp)
	}
	if err != nil {
		resp.Body.Close()
		return nil, err
	}
	return resp, nil
}

// isListing reports whether a request uses the JSON API's method objects.list.
func isListing(req *http.Request) bool {
	return req.Method == http.MethodGet && isJSON(req) && strings.HasSuffix(req.URL.Path, "/o")
}

// isRead reports whether a request uses the XML API, with which the client reads.
func isRead(req *http.Request) bool {
	return (req.Method == http.MethodGet || req.Method == http.MethodHead) && !isJSON(req)
}

func isJSON(req *http.Request) bool { return req.URL.Query().Get("alt") == "json" }

// withKind adds the kind of the answer to the fields that the client requests.
func withKind(req *http.Request) *http.Request {
	q := req.URL.Query()
	if !q.Has("fields") {
		return req
	}
	q.Set("fields", "kind,"+q.Get("fields"))
	req = req.Clone(req.Context())
	req.URL.RawQuery = q.Encode()
	return req
}

// checkListing reads an answer, and puts it back.
// https://cloud.google.com/storage/docs/json_api/v1/objects/list
func checkListing(resp *http.Response, token string) error {
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	resp.Body.Close()
	resp.Body = io.NopCloser(bytes.NewReader(body))
	var list struct {
		Kind          string
		NextPageToken string
	}
	switch err := json.Unmarshal(body, &list); {
	case err != nil:
		return fmt.Errorf("%w: expected a listing, and it is not JSON", driver.ErrForeign)
	case list.Kind != "storage#objects":
		return fmt.Errorf("%w: expected a listing, and it is a document of another kind", driver.ErrForeign)
	case token != "" && list.NextPageToken == token:
		return fmt.Errorf("%w: the listing repeats a page token", driver.ErrForeign)
	}
	return nil
}

// checkRead looks for one of the headers that each of the service's answers has.
func checkRead(resp *http.Response) error {
	for name := range resp.Header {
		if strings.HasPrefix(name, "X-Goog-") {
			return nil
		}
	}
	return fmt.Errorf("%w: it has none of the headers of an object", driver.ErrForeign)
}

// wantName checks the answer about an object, which repeats its name.
func wantName(name, want string) error {
	if name != want {
		return fmt.Errorf("%w: it is not about the object", driver.ErrForeign)
	}
	return nil
}
