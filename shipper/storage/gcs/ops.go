package gcs

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"strings"
	"sync"
	"sync/atomic"

	gcs "cloud.google.com/go/storage"
	"golang.org/x/sync/errgroup"
	"google.golang.org/api/iterator"

	"github.com/walvfs/walvfs/shipper/storage"
	"github.com/walvfs/walvfs/shipper/storage/internal/driver"
)

// Create writes an object if none has that key.
//
// The client repeats requests whose answer was lost, so [storage.ErrExists] may come from
// the caller's own first attempt: read the object back to find out.
func (s *Store) Create(ctx context.Context, key string, body storage.Body, attrs storage.Attrs) error {
	g := driver.NewGuard(ctx, s.patience)
	defer g.Stop()
	if err := s.create(g, key, body, attrs); err != nil {
		return s.fail("create", key, g.Err(err))
	}
	return nil
}

func (s *Store) create(g *driver.Guard, key string, body storage.Body, attrs storage.Attrs) error {
	object, err := s.object(g.Context(), key)
	if err != nil {
		return err
	}
	// Uploads have no maximum of attempts, so count them here, from zero after each piece.
	var failed atomic.Int32
	object = object.If(gcs.Conditions{DoesNotExist: true}).
		Retryer(gcs.WithErrorFunc(func(err error) bool { return worthRetrying(err) && failed.Add(1) < attempts }))
	w := object.NewWriter(g.Context())
	w.ChunkSize = chunkFor(body.Size(), s.chunkSize)
	w.ChunkTransferTimeout = s.patience
	w.ContentType = "application/octet-stream" // do not guess from the first bytes
	w.Metadata = driver.Metadata(attrs)
	w.StorageClass = s.settings.StorageClass
	w.KMSKeyName = s.settings.KMSKeyID
	w.ProgressFunc = func(int64) {
		g.Touch()
		failed.Store(0)
	}

	n, err := io.Copy(w, g.Body(body, 0, body.Size()))
	if err == nil && n != body.Size() {
		err = fmt.Errorf("body ended after %d of %d bytes: %w", n, body.Size(), io.ErrUnexpectedEOF)
	}
	if err == nil {
		err = g.Await(attrs)
	}
	if err != nil {
		// Close alone would publish the bytes read so far.
		g.Stop()
		w.Close()
		return err
	}
	if err := w.Close(); err != nil {
		return err
	}
	return wantName(w.Attrs().Name, s.root+key)
}

// chunkFor is the memory needed to send a body: a little more than its size sends it in
// one request.
func chunkFor(size int64, most int) int {
	const unit = 256 << 10
	return int(min((size/unit+1)*unit, int64(most)))
}

// Open reads a range of an object.
func (s *Store) Open(ctx context.Context, key string, offset, length int64) (io.ReadCloser, storage.Attrs, error) {
	g := driver.NewGuard(ctx, s.patience)
	r, attrs, err := s.open(g, key, offset, length)
	if err != nil {
		err = s.fail("open", key, g.Err(s.whichIsMissing(g.Context(), err)))
		g.Stop()
		return nil, storage.Attrs{}, err
	}
	return r, attrs, nil
}

func (s *Store) open(g *driver.Guard, key string, offset, length int64) (io.ReadCloser, storage.Attrs, error) {
	if err := driver.CheckRange(offset); err != nil {
		return nil, storage.Attrs{}, err
	}
	object, err := s.object(g.Context(), key)
	if err != nil {
		return nil, storage.Attrs{}, err
	}
	if length == 0 {
		return s.head(g, object)
	}
	r, err := object.NewRangeReader(g.Context(), offset, max(length, -1))
	if status(err) == 416 {
		return s.head(g, object) // the object ends before the offset
	}
	if err != nil {
		return nil, storage.Attrs{}, err
	}
	meta := r.Metadata()
	lookup := func(name string) string {
		for k, v := range meta { // header names: their case may change
			if strings.EqualFold(k, name) {
				return v
			}
		}
		return ""
	}
	wrap := func(err error) error { return s.fail("open", key, err) }
	return g.Answer(r, wrap), driver.Attrs(lookup, r.Attrs.LastModified), nil
}

// head returns a range without bytes.
func (s *Store) head(g *driver.Guard, object *gcs.ObjectHandle) (io.ReadCloser, storage.Attrs, error) {
	a, err := object.Attrs(g.Context())
	if err == nil {
		err = wantName(a.Name, object.ObjectName())
	}
	if err != nil {
		return nil, storage.Attrs{}, err
	}
	g.Stop()
	return driver.Empty(), driver.Attrs(func(name string) string { return a.Metadata[name] }, a.Created), nil
}

// List yields objects and fetches one page of answers at a time.
func (s *Store) List(ctx context.Context, prefix, startAfter string) iter.Seq2[storage.Object, error] {
	return func(yield func(storage.Object, error) bool) {
		g := driver.NewGuard(ctx, s.patience)
		defer g.Stop()
		err := s.list(g, prefix, startAfter, yield)
		if err != nil {
			yield(storage.Object{}, s.fail("list", prefix, g.Err(err)))
		}
	}
}

func (s *Store) list(g *driver.Guard, prefix, startAfter string, yield func(storage.Object, error) bool) error {
	bucket, err := s.handle(g.Context())
	if err != nil {
		return err
	}
	q := &gcs.Query{Prefix: s.root + prefix, Projection: gcs.ProjectionNoACL}
	if startAfter != "" {
		q.StartOffset = s.root + startAfter // inclusive
	}
	if err := q.SetAttrSelection([]string{"Name", "Size", "Updated"}); err != nil {
		return err
	}
	it := bucket.Objects(g.Context(), q)
	it.PageInfo().MaxSize = s.pageSize
	listing := driver.Listing{Root: s.root, Prefix: prefix, StartAfter: startAfter}
	for {
		g.Touch()
		o, err := it.Next()
		if errors.Is(err, iterator.Done) {
			return nil
		}
		if err != nil {
			return err
		}
		key, asked, err := listing.Key(o.Name)
		if err != nil {
			return err
		}
		if !asked {
			continue
		}
		g.Pause() // the store is not responsible for the caller's time
		if !yield(storage.Object{Key: key, Size: o.Size, ModTime: o.Updated}, nil) {
			return nil
		}
	}
}

// Delete removes objects, several in parallel: the service deletes one object per
// request.
func (s *Store) Delete(ctx context.Context, keys ...string) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(16)
	var missing sync.Once // one missing object shows whether the bucket exists
	for _, key := range keys {
		group.Go(func() error {
			g := driver.NewGuard(ctx, s.patience)
			defer g.Stop()
			err := s.delete(g.Context(), key)
			if errors.Is(err, gcs.ErrObjectNotExist) {
				notExist := err
				err = nil
				missing.Do(func() {
					if e := s.whichIsMissing(g.Context(), notExist); isNoBucket(e) {
						err = e
					}
				})
			}
			if err != nil {
				return s.fail("delete", key, g.Err(err))
			}
			return nil
		})
	}
	return group.Wait()
}

func (s *Store) delete(ctx context.Context, key string) error {
	bucket, err := s.handle(ctx)
	if err != nil {
		return err
	}
	return bucket.Object(s.root + key).Delete(ctx) // which takes no customer key
}

// whichIsMissing turns "no such object" into "no such bucket" if the bucket is missing.
// The client's reader drops the answer's text, which distinguishes them.
func (s *Store) whichIsMissing(ctx context.Context, err error) error {
	if !errors.Is(err, gcs.ErrObjectNotExist) || isNoBucket(err) {
		return err
	}
	bucket, handleErr := s.handle(ctx)
	if handleErr != nil {
		return err
	}
	it := bucket.Objects(ctx, &gcs.Query{Prefix: s.root, Projection: gcs.ProjectionNoACL})
	it.PageInfo().MaxSize = 1
	if _, listErr := it.Next(); isNoBucket(listErr) {
		return listErr
	}
	return err
}
