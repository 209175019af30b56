package s3

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"strings"
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
	in := &s3.GetObjectInput{Bucket: &s.bucket, Key: aws.String(s.root + key)}
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
	if offset > 0 && out.ContentRange == nil {
		out.Body.Close()
		return nil, storage.Attrs{}, errors.New("the service ignored the range that was asked for")
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

// head is for ranges without bytes: the answer to such a GET has no metadata.
func (s *Store) head(g *driver.Guard, key string) (io.ReadCloser, storage.Attrs, error) {
	out, err := s.client.HeadObject(g.Context(), &s3.HeadObjectInput{Bucket: &s.bucket, Key: aws.String(s.root + key)})
	if err != nil {
		return nil, storage.Attrs{}, err
	}
	g.Stop()
	return driver.Empty(), attrsOf(out.Metadata, out.LastModified), nil
}

// List yields objects, a page of answers at a time.
func (s *Store) List(ctx context.Context, prefix, startAfter string) iter.Seq2[storage.Object, error] {
	return func(yield func(storage.Object, error) bool) {
		in := &s3.ListObjectsV2Input{Bucket: &s.bucket, Prefix: aws.String(s.root + prefix)}
		if startAfter != "" {
			in.StartAfter = aws.String(s.root + startAfter)
		}
		if s.pageSize > 0 {
			in.MaxKeys = &s.pageSize
		}
		last := startAfter
		for {
			out, err := s.page(ctx, in)
			if err != nil {
				yield(storage.Object{}, s.fail("list", prefix, err))
				return
			}
			for _, o := range out.Contents {
				key, ok := strings.CutPrefix(aws.ToString(o.Key), s.root)
				// Some services list a directory's marker, or ignore StartAfter.
				if !ok || key == "" || !strings.HasPrefix(key, prefix) || key <= startAfter {
					continue
				}
				if key <= last {
					yield(storage.Object{}, s.fail("list", prefix, fmt.Errorf("the service lists %q after %q: keys must be in order", key, last)))
					return
				}
				last = key
				if !yield(storage.Object{Key: key, Size: aws.ToInt64(o.Size), ModTime: aws.ToTime(o.LastModified)}, nil) {
					return
				}
			}
			if !aws.ToBool(out.IsTruncated) || aws.ToString(out.NextContinuationToken) == "" {
				return
			}
			in.ContinuationToken = out.NextContinuationToken
		}
	}
}

func (s *Store) page(ctx context.Context, in *s3.ListObjectsV2Input) (*s3.ListObjectsV2Output, error) {
	g := driver.NewGuard(ctx, s.patience)
	defer g.Stop()
	out, err := s.client.ListObjectsV2(g.Context(), in)
	return out, g.Err(err)
}
