package s3

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/walvfs/walvfs/shipper/storage"
	"github.com/walvfs/walvfs/shipper/storage/internal/driver"
)

// Open reads a range of an object.
func (s *Store) Open(ctx context.Context, key string, offset, length int64) (io.ReadCloser, storage.Attrs, error) {
	g := driver.NewGuard(ctx, s.patience)
	r, attrs, err := s.open(g, key, offset, length)
	if err != nil {
		err = s.fail("open", key, g.Err(err))
		g.Stop()
		return nil, storage.Attrs{}, err
	}
	return r, attrs, nil
}

func (s *Store) open(g *driver.Guard, key string, offset, length int64) (io.ReadCloser, storage.Attrs, error) {
	if err := driver.CheckRange(offset); err != nil {
		return nil, storage.Attrs{}, err
	}
	if length == 0 {
		return s.head(g, key)
	}
	in := &s3.GetObjectInput{
		Bucket:               &s.bucket,
		Key:                  aws.String(s.root + key),
		SSECustomerAlgorithm: s.settings.customer.algorithm,
		SSECustomerKey:       s.settings.customer.key,
		SSECustomerKeyMD5:    s.settings.customer.md5,
		RequestPayer:         s.settings.payer,
	}
	switch {
	case length > 0:
		in.Range = aws.String(fmt.Sprintf("bytes=%d-%d", offset, offset+length-1))
	case offset > 0:
		in.Range = aws.String(fmt.Sprintf("bytes=%d-", offset))
	}
	out, err := s.client.GetObject(g.Context(), in)
	if status(err) == 416 {
		return s.head(g, key) // the object ends before the offset
	}
	if err != nil {
		return nil, storage.Attrs{}, err
	}
	err = wantETag(out.ETag)
	if err == nil && offset > 0 && out.ContentRange == nil {
		err = errors.New("the service ignored the range that was asked for")
	}
	if err != nil {
		out.Body.Close()
		return nil, storage.Attrs{}, err
	}
	var r io.ReadCloser = out.Body
	if length > 0 {
		r = limited{io.LimitReader(r, length), out.Body}
	}
	wrap := func(err error) error { return s.fail("open", key, err) }
	return g.Answer(r, wrap), attrsOf(out.Metadata, out.LastModified), nil
}

func attrsOf(metadata map[string]string, modified *time.Time) storage.Attrs {
	return driver.Attrs(func(name string) string { return metadata[name] }, aws.ToTime(modified))
}

type limited struct {
	io.Reader
	io.Closer
}

// head returns a range without bytes: the answer to such a GET has no metadata.
func (s *Store) head(g *driver.Guard, key string) (io.ReadCloser, storage.Attrs, error) {
	out, err := s.headObject(g, key)
	if err != nil {
		return nil, storage.Attrs{}, err
	}
	g.Stop()
	return driver.Empty(), attrsOf(out.Metadata, out.LastModified), nil
}

func (s *Store) headObject(g *driver.Guard, key string) (*s3.HeadObjectOutput, error) {
	out, err := s.client.HeadObject(g.Context(), &s3.HeadObjectInput{
		Bucket:               &s.bucket,
		Key:                  aws.String(s.root + key),
		SSECustomerAlgorithm: s.settings.customer.algorithm,
		SSECustomerKey:       s.settings.customer.key,
		SSECustomerKeyMD5:    s.settings.customer.md5,
		RequestPayer:         s.settings.payer,
	})
	if err != nil {
		return nil, err
	}
	return out, wantETag(out.ETag)
}

// List yields objects and fetches one page of answers at a time.
func (s *Store) List(ctx context.Context, prefix, startAfter string) iter.Seq2[storage.Object, error] {
	return func(yield func(storage.Object, error) bool) {
		if err := s.list(ctx, prefix, startAfter, yield); err != nil {
			yield(storage.Object{}, s.fail("list", prefix, err))
		}
	}
}

func (s *Store) list(ctx context.Context, prefix, startAfter string, yield func(storage.Object, error) bool) error {
	in := &s3.ListObjectsV2Input{Bucket: &s.bucket, Prefix: aws.String(s.root + prefix), RequestPayer: s.settings.payer}
	if startAfter != "" {
		in.StartAfter = aws.String(s.root + startAfter)
	}
	if s.pageSize > 0 {
		in.MaxKeys = &s.pageSize
	}
	listing := driver.Listing{Root: s.root, Prefix: prefix, StartAfter: startAfter}
	for {
		out, err := s.page(ctx, in)
		if err != nil {
			return err
		}
		for _, o := range out.Contents {
			key, asked, err := listing.Key(aws.ToString(o.Key))
			if err != nil {
				return err
			}
			if asked && !yield(storage.Object{Key: key, Size: aws.ToInt64(o.Size), ModTime: aws.ToTime(o.LastModified)}, nil) {
				return nil
			}
		}
		if !aws.ToBool(out.IsTruncated) {
			return nil
		}
		if err := listing.Next(aws.ToString(out.NextContinuationToken)); err != nil {
			return err
		}
		in.ContinuationToken = out.NextContinuationToken
	}
}

func (s *Store) page(ctx context.Context, in *s3.ListObjectsV2Input) (*s3.ListObjectsV2Output, error) {
	g := driver.NewGuard(ctx, s.patience)
	defer g.Stop()
	out, err := s.client.ListObjectsV2(g.Context(), in, wantRoot("ListBucketResult"))
	return out, g.Err(err)
}
