package shipping

import (
	"context"
	"io"
	"iter"
	"sync/atomic"

	"github.com/walvfs/walvfs/shipper"
	"github.com/walvfs/walvfs/shipper/storage"
)

// A meter is a store that counts its requests.
type meter struct {
	storage.Store
	put, get, list, del atomic.Int64
}

// Unwrap returns the store whose requests are counted.
func (m *meter) Unwrap() storage.Store { return m.Store }

func (m *meter) requests() shipper.Requests {
	return shipper.Requests{Put: m.put.Load(), Get: m.get.Load(), List: m.list.Load(), Delete: m.del.Load()}
}

func (m *meter) List(ctx context.Context, prefix, startAfter string) iter.Seq2[storage.Object, error] {
	m.list.Add(1)
	return m.Store.List(ctx, prefix, startAfter)
}

func (m *meter) Open(ctx context.Context, key string, offset, length int64) (io.ReadCloser, storage.Attrs, error) {
	m.get.Add(1)
	return m.Store.Open(ctx, key, offset, length)
}

func (m *meter) Create(ctx context.Context, key string, body storage.Body, attrs storage.Attrs) error {
	m.put.Add(1)
	return m.Store.Create(ctx, key, body, attrs)
}

func (m *meter) Delete(ctx context.Context, keys ...string) error {
	m.del.Add(1)
	return m.Store.Delete(ctx, keys...)
}
