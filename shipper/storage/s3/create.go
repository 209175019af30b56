package s3

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"golang.org/x/sync/errgroup"

	"github.com/walvfs/walvfs/shipper/storage"
	"github.com/walvfs/walvfs/shipper/storage/internal/driver"
)

// Create writes an object if none has that key.
//
// The SDK repeats requests whose answer was lost, so [storage.ErrExists] may
// come from the caller's own first attempt: reading the object back tells.
func (s *Store) Create(ctx context.Context, key string, body storage.Body, attrs storage.Attrs) error {
	g := driver.NewGuard(ctx, s.patience)
	defer g.Stop()
	send := s.put
	if body.Size() > s.putMax {
		send = s.upload
	}
	// 409: another request for this key was under way, and which of the two
	// stands is open. The service asks for another try, a multipart upload from
	// its start.
	const tries = 6
	for try := 1; ; try++ {
		err := s.absent(g, key)
		if err == nil {
			err = send(g, key, body, attrs)
		}
		if err == nil {
			return nil
		}
		if !isConflict(err) || try == tries || !sleep(g.Context(), backoff(try)) {
			return s.fail("create", key, g.Err(err))
		}
	}
}

func backoff(try int) time.Duration {
	return time.Duration((0.5 + rand.Float64()) * float64(50*time.Millisecond) * float64(int(1)<<try))
}

func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}

// absent looks for an object where the store cannot do that by itself.
func (s *Store) absent(g *driver.Guard, key string) error {
	if s.condition != nil {
		return nil
	}
	_, err := s.client.HeadObject(g.Context(), &s3.HeadObjectInput{Bucket: &s.bucket, Key: aws.String(s.root + key)})
	if err == nil {
		return storage.ErrExists
	}
	if _, ok := errors.AsType[*types.NotFound](err); ok {
		return nil
	}
	return err
}

// put sends a body in one request.
func (s *Store) put(g *driver.Guard, key string, body storage.Body, attrs storage.Attrs) error {
	_, err := s.client.PutObject(g.Context(), &s3.PutObjectInput{
		Bucket:        &s.bucket,
		Key:           aws.String(s.root + key),
		Body:          g.Body(body, 0, body.Size()),
		ContentLength: aws.Int64(body.Size()),
		IfNoneMatch:   s.condition,
		Metadata:      driver.Metadata(attrs),
	})
	return err
}

// upload sends a body in parts. Nothing is visible before the last request, and
// the condition is checked there.
func (s *Store) upload(g *driver.Guard, key string, body storage.Body, attrs storage.Attrs) (err error) {
	full := aws.String(s.root + key)
	up, err := s.client.CreateMultipartUpload(g.Context(), &s3.CreateMultipartUploadInput{
		Bucket:   &s.bucket,
		Key:      full,
		Metadata: driver.Metadata(attrs),
	})
	if err != nil {
		return err
	}
	g.Touch()
	defer func() {
		if err != nil {
			if abortErr := s.abort(g.Context(), full, up.UploadId); abortErr != nil {
				err = fmt.Errorf("%w; %w", err, &abortError{abortErr})
			}
		}
	}()
	parts, err := s.uploadParts(g, full, up.UploadId, body)
	if err != nil {
		return err
	}
	g.Touch()
	_, err = s.client.CompleteMultipartUpload(g.Context(), &s3.CompleteMultipartUploadInput{
		Bucket:          &s.bucket,
		Key:             full,
		UploadId:        up.UploadId,
		IfNoneMatch:     s.condition,
		MultipartUpload: &types.CompletedMultipartUpload{Parts: parts},
	})
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
				Bucket:        &s.bucket,
				Key:           key,
				UploadId:      id,
				PartNumber:    number,
				Body:          g.Body(body, off, n),
				ContentLength: &n,
			})
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

// abort frees the parts of an upload, which cost as much as objects but are not
// listed. It works when the caller has given up, too.
func (s *Store) abort(ctx context.Context, key, id *string) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 20*time.Second)
	defer cancel()
	_, err := s.client.AbortMultipartUpload(ctx, &s3.AbortMultipartUploadInput{
		Bucket: &s.bucket, Key: key, UploadId: id,
	})
	if err != nil && apiCode(err) != "NoSuchUpload" {
		return err
	}
	return nil
}

// abortError is what a failed abort adds to the reason for it. It does not
// unwrap: the error that counts is the other.
type abortError struct{ err error }

func (e *abortError) Error() string {
	return fmt.Sprintf("the upload's parts may be left in the bucket: %v; a lifecycle rule for incomplete uploads removes them", e.err)
}
