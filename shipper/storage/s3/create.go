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
	"github.com/aws/smithy-go/middleware"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"github.com/walvfs/walvfs/shipper/storage"
	"github.com/walvfs/walvfs/shipper/storage/internal/driver"
)

// Create writes an object if none has that key.
//
// The SDK repeats requests whose answer was lost, so [storage.ErrExists] may come from
// the caller's own first attempt: read the object back to find out.
func (s *Store) Create(ctx context.Context, key string, body storage.Body, attrs storage.Attrs) error {
	g := driver.NewGuard(ctx, s.patience)
	defer g.Stop()
	// 409: another request for this key was in progress, and which of the two won is open.
	// The service asks for a retry, of a multipart upload from its start.
	const tries = 6
	for try := 1; ; try++ {
		err := s.create(g, key, body, attrs)
		switch {
		case err == nil:
			return nil
		case wantsChecksum(err) && s.wantsChecksum.CompareAndSwap(false, true):
		case !isConflict(err) || try == tries || !sleep(g.Context(), backoff(try)):
			return s.fail("create", key, g.Err(err))
		}
	}
}

func (s *Store) create(g *driver.Guard, key string, body storage.Body, attrs storage.Attrs) error {
	send, err := s.sender(g, body.Size())
	if err == nil && s.condition == nil {
		err = s.absent(g, key)
	}
	if err == nil {
		err = send(g, key, body, attrs)
	}
	return err
}

// sender is a way to send a body.
type sender func(g *driver.Guard, key string, body storage.Body, attrs storage.Attrs) error

// sender returns the way to create a body of a size under the condition.
func (s *Store) sender(g *driver.Guard, size int64) (sender, error) {
	if size <= s.putMax {
		return s.put, nil
	}
	if s.condition == nil {
		return s.upload, nil
	}
	conditional, err := s.completesConditionally(g)
	switch {
	case err != nil:
		return nil, err
	case conditional:
		return s.upload, nil
	case size > putLimit:
		return nil, fmt.Errorf("%w for a multipart upload, which a body of %d bytes needs", storage.ErrNoCondition, size)
	}
	return s.putLarge, nil
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

// absent checks that an object does not exist.
func (s *Store) absent(g *driver.Guard, key string) error {
	_, err := s.headObject(g, key)
	if err == nil {
		return storage.ErrExists
	}
	if _, ok := errors.AsType[*types.NotFound](err); ok {
		return nil
	}
	return err
}

// putLarge checks that the object does not exist, and then sends the body in one request:
// a service that refuses so large a body before it has received all of it may break the
// connection instead of answering.
func (s *Store) putLarge(g *driver.Guard, key string, body storage.Body, attrs storage.Attrs) error {
	if err := s.absent(g, key); err != nil {
		return err
	}
	return s.put(g, key, body, attrs)
}

// put sends a body in one request.
func (s *Store) put(g *driver.Guard, key string, body storage.Body, attrs storage.Attrs) error {
	out, err := s.client.PutObject(g.Context(), &s3.PutObjectInput{
		Bucket:               &s.bucket,
		Key:                  aws.String(s.root + key),
		Body:                 g.Body(body, 0, body.Size()),
		ContentLength:        aws.Int64(body.Size()),
		IfNoneMatch:          s.condition,
		Metadata:             driver.Metadata(attrs),
		ServerSideEncryption: s.settings.sse,
		SSEKMSKeyId:          s.settings.kmsKeyID,
		SSECustomerAlgorithm: s.settings.customer.algorithm,
		SSECustomerKey:       s.settings.customer.key,
		SSECustomerKeyMD5:    s.settings.customer.md5,
		StorageClass:         s.settings.class,
		RequestPayer:         s.settings.payer,
	}, s.checksum, sendWhenReady(g, attrs))
	if err != nil {
		return err
	}
	return wantETag(out.ETag)
}

// sendWhenReady makes a request hold back its last byte, once it is signed, until its
// object may be created: by then, a service has the rest, and it creates no object from a
// body that is shorter than its stated length.
func sendWhenReady(g *driver.Guard, attrs storage.Attrs) func(*s3.Options) {
	hold := middleware.FinalizeMiddlewareFunc("sendWhenReady", func(ctx context.Context, in middleware.FinalizeInput, next middleware.FinalizeHandler) (
		out middleware.FinalizeOutput, meta middleware.Metadata, err error,
	) {
		if r, ok := in.Request.(*smithyhttp.Request); ok && r.GetStream() != nil && r.ContentLength > 0 {
			in.Request, err = r.SetStream(g.Hold(r.GetStream(), r.ContentLength-1, attrs))
		} else {
			err = g.Await(attrs)
		}
		if err != nil {
			return out, meta, err
		}
		return next.HandleFinalize(ctx, in)
	})
	return func(o *s3.Options) {
		o.APIOptions = append(o.APIOptions, func(stack *middleware.Stack) error {
			return stack.Finalize.Add(hold, middleware.After)
		})
	}
}

// checksum adds Content-MD5 to a request with a body, for a bucket that demands a
// checksum: objects are locked by default, and the service does not get the SDK's own
// checksums. It reads the body once more.
func (s *Store) checksum(o *s3.Options) {
	if s.wantsChecksum.Load() {
		o.APIOptions = append(o.APIOptions, smithyhttp.AddContentChecksumMiddleware)
	}
}
