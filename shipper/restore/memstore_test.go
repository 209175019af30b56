package restore

import (
	"bytes"
	"context"
	"errors"
	"io"
	"iter"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/walvfs/walvfs/format"
	"github.com/walvfs/walvfs/shipper/storage"
)

// memStore is a replica in memory whose faults a test chooses.
type memStore struct {
	layout  format.Layout
	objects map[string][]byte

	// Faults; nil means no fault.
	listed func(n int, o *storage.Object) error                                       // may change a listed object
	open   func(ctx context.Context, key string, offset int64) error                  // before an object is opened
	body   func(ctx context.Context, key string, offset int64, r io.Reader) io.Reader // while it is read

	mu    sync.Mutex // guards the following fields, and objects once a restore runs
	opens []string   // keys, in order
	asked []int64    // lengths, in order
}

// change changes the objects while a restore runs.
func (s *memStore) change(do func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	do()
}

func (s *memStore) object(key string) (b []byte, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	b, ok = s.objects[key]
	return b, ok
}

func (s *memStore) keys() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Sorted(maps.Keys(s.objects))
}

var _ storage.Store = &memStore{}

func (s *memStore) List(_ context.Context, prefix, startAfter string) iter.Seq2[storage.Object, error] {
	return func(yield func(storage.Object, error) bool) {
		for n, key := range s.keys() {
			if !strings.HasPrefix(key, prefix) || key <= startAfter {
				continue
			}
			o := storage.Object{Key: key}
			b, _ := s.object(key)
			o.Size = int64(len(b))
			if s.listed != nil {
				if err := s.listed(n, &o); err != nil {
					yield(storage.Object{}, &storage.Error{Op: "list", URL: s.String(), Err: err})
					return
				}
			}
			if !yield(o, nil) {
				return
			}
		}
	}
}

func (s *memStore) Open(ctx context.Context, key string, offset, length int64) (io.ReadCloser, storage.Attrs, error) {
	s.mu.Lock()
	s.opens = append(s.opens, key)
	s.asked = append(s.asked, length)
	s.mu.Unlock()
	fail := func(err error) (io.ReadCloser, storage.Attrs, error) {
		return nil, storage.Attrs{}, &storage.Error{Op: "open", URL: s.String(), Key: key, Err: err}
	}
	if err := ctx.Err(); err != nil {
		return fail(err)
	}
	if s.open != nil {
		if err := s.open(ctx, key, offset); err != nil {
			return fail(err)
		}
	}
	b, ok := s.object(key)
	if !ok {
		return fail(storage.ErrNotExist)
	}
	b = b[min(offset, int64(len(b))):]
	if length >= 0 {
		b = b[:min(length, int64(len(b)))]
	}
	var r io.Reader = &ctxReader{ctx, bytes.NewReader(b)}
	if s.body != nil {
		r = s.body(ctx, key, offset, r)
	}
	return io.NopCloser(r), storage.Attrs{}, nil
}

func (s *memStore) Create(context.Context, string, storage.Body, storage.Attrs) error {
	return errors.ErrUnsupported
}
func (s *memStore) Delete(context.Context, ...string) error { return errors.ErrUnsupported }
func (s *memStore) Layout() format.Layout                   { return s.layout }
func (s *memStore) String() string                          { return "mem://replica" }
func (s *memStore) Close() error                            { return nil }

// ctxReader fails once the context is done, like a connection.
type ctxReader struct {
	ctx context.Context
	r   io.Reader
}

func (r *ctxReader) Read(p []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	return r.r.Read(p)
}

// breakAfter is a connection that breaks after n bytes.
type breakAfter struct {
	r   io.Reader
	n   int64
	err error
}

func (r *breakAfter) Read(p []byte) (int, error) {
	if r.n <= 0 {
		return 0, r.err
	}
	n, err := r.r.Read(p[:min(int64(len(p)), r.n)])
	r.n -= int64(n)
	return n, err
}
