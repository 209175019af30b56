package s3

import (
	"context"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"golang.org/x/sync/errgroup"

	"github.com/walvfs/walvfs/shipper/storage"
	"github.com/walvfs/walvfs/shipper/storage/internal/driver"
)

// upload sends a body in parts. Nothing is visible before the last request, which checks
// the condition.
func (s *Store) upload(g *driver.Guard, key string, body storage.Body, attrs storage.Attrs) (err error) {
	full := aws.String(s.root + key)
	up, err := s.client.CreateMultipartUpload(g.Context(), &s3.CreateMultipartUploadInput{
		Bucket:               &s.bucket,
		Key:                  full,
		Metadata:             driver.Metadata(attrs),
		ServerSideEncryption: s.settings.sse,
		SSEKMSKeyId:          s.settings.kmsKeyID,
		SSECustomerAlgorithm: s.settings.customer.algorithm,
		SSECustomerKey:       s.settings.customer.key,
		SSECustomerKeyMD5:    s.settings.customer.md5,
		StorageClass:         s.settings.class,
		RequestPayer:         s.settings.payer,
	}, wantRoot("InitiateMultipartUploadResult"))
	if err != nil {
		return err
	}
	g.Touch()
	defer func() {
		if err != nil {
			abort := func(ctx context.Context) error { return s.abort(ctx, full, up.UploadId) }
			if abortErr := storage.CleanUp(g.Context(), abort); abortErr != nil {
				err = fmt.Errorf("%w; %w", err, &abortError{abortErr})
			}
		}
	}()
	parts, err := s.uploadParts(g, full, up.UploadId, body)
	if err != nil {
		return err
	}
	if err := g.Await(attrs); err != nil {
		return err
	}
	_, err = s.client.CompleteMultipartUpload(g.Context(), &s3.CompleteMultipartUploadInput{
		Bucket:               &s.bucket,
		Key:                  full,
		UploadId:             up.UploadId,
		IfNoneMatch:          s.condition,
		MultipartUpload:      &types.CompletedMultipartUpload{Parts: parts},
		SSECustomerAlgorithm: s.settings.customer.algorithm,
		SSECustomerKey:       s.settings.customer.key,
		SSECustomerKeyMD5:    s.settings.customer.md5,
		RequestPayer:         s.settings.payer,
	}, wantRoot("CompleteMultipartUploadResult"))
	return err
}

func (s *Store) uploadParts(g *driver.Guard, key, id *string, body storage.Body) ([]types.CompletedPart, error) {
	size := body.Size()
	partSize := max(s.partSize, (size+partsMax-1)/partsMax)
	parts := make([]types.CompletedPart, (size+partSize-1)/partSize)
	group, ctx := errgroup.WithContext(g.Context())
	group.SetLimit(parallel)
	for i := range parts {
		if ctx.Err() != nil {
			break
		}
		group.Go(func() error {
			off := int64(i) * partSize
			n := min(partSize, size-off)
			number := aws.Int32(int32(i) + 1)
			out, err := s.client.UploadPart(ctx, &s3.UploadPartInput{
				Bucket:               &s.bucket,
				Key:                  key,
				UploadId:             id,
				PartNumber:           number,
				Body:                 g.Body(body, off, n),
				ContentLength:        &n,
				SSECustomerAlgorithm: s.settings.customer.algorithm,
				SSECustomerKey:       s.settings.customer.key,
				SSECustomerKeyMD5:    s.settings.customer.md5,
				RequestPayer:         s.settings.payer,
			}, s.checksum)
			if err == nil {
				err = wantETag(out.ETag)
			}
			if err != nil {
				return fmt.Errorf("part %d of %d: %w", i+1, len(parts), err)
			}
			parts[i] = types.CompletedPart{
				PartNumber:        number,
				ETag:              out.ETag,
				ChecksumCRC32:     out.ChecksumCRC32,
				ChecksumCRC32C:    out.ChecksumCRC32C,
				ChecksumCRC64NVME: out.ChecksumCRC64NVME,
				ChecksumSHA1:      out.ChecksumSHA1,
				ChecksumSHA256:    out.ChecksumSHA256,
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	return parts, g.Context().Err()
}

// abort frees the parts of an upload, which cost as much as objects but do not appear in
// listings.
func (s *Store) abort(ctx context.Context, key, id *string) error {
	_, err := s.client.AbortMultipartUpload(ctx, &s3.AbortMultipartUploadInput{
		Bucket: &s.bucket, Key: key, UploadId: id, RequestPayer: s.settings.payer,
	})
	if err != nil && apiCode(err) != "NoSuchUpload" {
		return err
	}
	return nil
}

// abortError is the error of a failed abort, next to the reason for the abort. It does
// not unwrap: the reason is what counts.
type abortError struct{ err error }

func (e *abortError) Error() string {
	return fmt.Sprintf("the upload's parts may be left in the bucket: %v; a lifecycle rule for incomplete uploads removes them", e.err)
}
