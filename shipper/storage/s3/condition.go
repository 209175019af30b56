package s3

import (
	"bytes"
	"context"
	"crypto/rand"
	"io"
	"net/http"
	"strings"
	"sync"

	"github.com/walvfs/walvfs/shipper/storage"
	"github.com/walvfs/walvfs/shipper/storage/internal/driver"
)

// completing records, by bucket, whether the completion of a multipart upload honours
// put-if-absent. A service can do so in PutObject but not here: neither
// https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-writes.html nor a
// compatible service's documentation proves it for an installed version.
var completing sync.Map

// completesConditionally finds that out by completing an upload over an object. If the
// service refuses the check, it does not rely on the service, this time.
func (s *Store) completesConditionally(g *driver.Guard) (bool, error) {
	bucket := s.Bucket()
	if honours, known := completing.Load(bucket); known {
		return honours.(bool), nil
	}
	honours, err := s.probeCompletion(g)
	if err != nil {
		if storage.Refused(s.fail("create", "", err)) {
			return false, nil
		}
		return false, err
	}
	completing.Store(bucket, honours)
	return honours, nil
}

func (s *Store) probeCompletion(g *driver.Guard) (bool, error) {
	key := storage.ProbePrefix + strings.ToLower(rand.Text()) + "-parts"
	defer storage.CleanUp(g.Context(), func(ctx context.Context) error { return s.Delete(ctx, key) })
	err := s.put(g, key, bytes.NewReader([]byte("first")), storage.Attrs{})
	if err != nil && status(err) != http.StatusPreconditionFailed { // a 412 comes from its own repetition
		return false, err
	}
	err = s.upload(g, key, bytes.NewReader([]byte("second")), storage.Attrs{})
	switch {
	case err == nil || refusesCondition(err):
		return false, nil
	case status(err) != http.StatusPreconditionFailed:
		return false, err
	}
	// The answer "exists" proves nothing if the object was replaced.
	r, _, err := s.Open(g.Context(), key, 0, -1)
	if err != nil {
		return false, err
	}
	defer r.Close()
	content, err := io.ReadAll(r)
	return string(content) == "first", err
}
