package storagetest

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"
)

// emptyHash is the SHA-256 of nothing.
const emptyHash = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

// sign signs a request again, with the body hash that it already has. Amazon's SDK can do
// that, too, but tests of packages without any SDK use this function:
// https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html
func (i *s3Instance) sign(req *http.Request) {
	if req.Header.Get("X-Amz-Content-Sha256") == "" {
		req.Header.Set("X-Amz-Content-Sha256", emptyHash)
	}
	date := time.Now().UTC().Format("20060102T150405Z")
	req.Header.Set("X-Amz-Date", date)
	request, headers := canonical(req)
	scope := date[:8] + "/" + s3Region + "/s3/aws4_request"
	key := []byte("AWS4" + i.secret)
	for part := range strings.SplitSeq(scope, "/") {
		key = keyed(key, part)
	}
	digest := sha256.Sum256([]byte(request))
	signature := keyed(key, fmt.Sprintf("AWS4-HMAC-SHA256\n%s\n%s\n%x", date, scope, digest))
	req.Header.Set("Authorization", fmt.Sprintf("AWS4-HMAC-SHA256 Credential=%s/%s, SignedHeaders=%s, Signature=%s",
		i.keyID, scope, headers, hex.EncodeToString(signature)))
}

// canonical returns the signed part of a request: its host and Amazon's headers. It also
// returns the names of these headers.
func canonical(req *http.Request) (request, headers string) {
	host := req.Host
	if host == "" {
		host = req.URL.Host
	}
	values := map[string]string{"host": host}
	for name, v := range req.Header {
		if name := strings.ToLower(name); strings.HasPrefix(name, "x-amz-") {
			values[name] = strings.TrimSpace(strings.Join(v, ","))
		}
	}
	names := slices.Sorted(maps.Keys(values))
	var lines strings.Builder
	for _, name := range names {
		fmt.Fprintf(&lines, "%s:%s\n", name, values[name])
	}
	headers = strings.Join(names, ";")
	query := strings.ReplaceAll(req.URL.Query().Encode(), "+", "%20")
	return strings.Join([]string{req.Method, req.URL.EscapedPath(), query, lines.String(), headers,
		req.Header.Get("X-Amz-Content-Sha256")}, "\n"), headers
}

func keyed(key []byte, text string) []byte {
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(text))
	return mac.Sum(nil)
}
