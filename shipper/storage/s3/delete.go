package s3

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"
	"golang.org/x/sync/errgroup"

	"github.com/walvfs/walvfs/shipper/storage/internal/driver"
)

// Delete removes objects, up to 1000 per request.
func (s *Store) Delete(ctx context.Context, keys ...string) error {
	for chunk := range slices.Chunk(keys, deleteMax) {
		if err := s.deleteChunk(ctx, chunk); err != nil {
			return err
		}
	}
	return nil
}

func (s *Store) deleteChunk(ctx context.Context, keys []string) error {
	if len(keys) == 1 || s.noBulkDelete.Load() {
		return s.deleteEach(ctx, keys)
	}
	err := s.deleteBulk(ctx, keys)
	if lacksBulkDelete(err) {
		s.noBulkDelete.Store(true)
		return s.deleteEach(ctx, keys)
	}
	return err
}

func (s *Store) deleteBulk(ctx context.Context, keys []string) error {
	g := driver.NewGuard(ctx, s.patience)
	defer g.Stop()
	ids := make([]types.ObjectIdentifier, len(keys))
	for i, key := range keys {
		ids[i].Key = aws.String(s.root + key)
	}
	out, err := s.client.DeleteObjects(g.Context(), &s3.DeleteObjectsInput{
		Bucket: &s.bucket,
		Delete: &types.Delete{Objects: ids, Quiet: aws.Bool(true)},

		RequestPayer: s.settings.payer,
	}, func(o *s3.Options) {
		if o.BaseEndpoint != nil {
			// Older compatible services support only this checksum, and demand it.
			o.APIOptions = append(o.APIOptions, smithyhttp.AddContentChecksumMiddleware)
		}
	})
	if err != nil {
		return s.fail("delete", keys[0], g.Err(err))
	}
	return s.perKey(out.Errors)
}

// perKey reports the keys that were not deleted. The first error stands for all: usually
// they have the same cause.
func (s *Store) perKey(failed []types.Error) error {
	failed = slices.DeleteFunc(failed, func(e types.Error) bool { return aws.ToString(e.Code) == "NoSuchKey" })
	if len(failed) == 0 {
		return nil
	}
	first := failed[0]
	var err error = &smithy.GenericAPIError{Code: aws.ToString(first.Code), Message: aws.ToString(first.Message)}
	if n := len(failed) - 1; n > 0 {
		err = fmt.Errorf("%w, and %d more keys", err, n)
	}
	return s.fail("delete", strings.TrimPrefix(aws.ToString(first.Key), s.root), err)
}

func (s *Store) deleteEach(ctx context.Context, keys []string) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(8)
	for _, key := range keys {
		group.Go(func() error {
			g := driver.NewGuard(ctx, s.patience)
			defer g.Stop()
			_, err := s.client.DeleteObject(g.Context(), &s3.DeleteObjectInput{
				Bucket: &s.bucket, Key: aws.String(s.root + key), RequestPayer: s.settings.payer,
			})
			if err == nil || isNoKey(err) {
				return nil
			}
			return s.fail("delete", key, g.Err(err))
		})
	}
	return group.Wait()
}

// lacksBulkDelete reports whether the service does not support DeleteObjects, like
// Google's, or not in the SDK's form.
func lacksBulkDelete(err error) bool {
	switch apiCode(err) {
	case "NotImplemented", "MethodNotAllowed", "MissingContentMD5", "InvalidDigest", "BadDigest", "InvalidRequest", "MalformedXML":
		return true
	}
	switch status(err) {
	case http.StatusNotImplemented, http.StatusMethodNotAllowed:
		return true
	}
	return false
}
