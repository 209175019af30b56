package storagetest

import (
	"bytes"
	"cmp"
	"context"
	"io"
	"iter"
	"slices"
	"strings"
	"sync"

	"github.com/walvfs/walvfs/format"
	"github.com/walvfs/walvfs/shipper/storage"
	"github.com/walvfs/walvfs/shipper/storage/internal/driver"
)

// Memory is a store in memory, for tests that inject faults into the code above
// it. Its zero value is an empty store that honours put-if-absent.
type Memory struct {
	// Name is the name in the URL that String returns, "memory://" + Name.
	Name string

	// Before and After are called around each operation, if not nil, with its name ("list",
	// "open", "create", "delete") and the key or prefix. An error from Before fails the
	// operation without effect, one from After loses its answer. While the store is in use,
	// change Before by SetBefore.
	Before, After func(ctx context.Context, op, key string) error

	mu      sync.Mutex // guards Before, too
	objects map[string]memoryObject
}

type memoryObject struct {
	data  []byte
	attrs storage.Attrs
}

var _ storage.Store = (*Memory)(nil)

// SetBefore sets Before.
func (m *Memory) SetBefore(fn func(ctx context.Context, op, key string) error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.Before = fn
}

func (m *Memory) around(ctx context.Context, op, key string, fn func() error) error {
	m.mu.Lock()
	before := m.Before
	m.mu.Unlock()
	err := ctx.Err()
	if err == nil && before != nil {
		err = before(ctx, op, key)
	}
	if err == nil {
		m.mu.Lock()
		err = fn()
		m.mu.Unlock()
	}
	if err == nil && m.After != nil {
		err = m.After(ctx, op, key)
	}
	if err != nil {
		return &storage.Error{Op: op, URL: m.String(), Key: key, Err: err}
	}
	return nil
}

// List implements [storage.Store].
func (m *Memory) List(ctx context.Context, prefix, startAfter string) iter.Seq2[storage.Object, error] {
	return func(yield func(storage.Object, error) bool) {
		var found []storage.Object
		err := m.around(ctx, "list", prefix, func() error {
			for key, o := range m.objects {
				if strings.HasPrefix(key, prefix) && key > startAfter {
					found = append(found, storage.Object{Key: key, Size: int64(len(o.data)), ModTime: o.attrs.Time})
				}
			}
			return nil
		})
		if err != nil {
			yield(storage.Object{}, err)
			return
		}
		slices.SortFunc(found, func(a, b storage.Object) int { return cmp.Compare(a.Key, b.Key) })
		for _, o := range found {
			if !yield(o, nil) {
				return
			}
		}
	}
}

// Open implements [storage.Store].
func (m *Memory) Open(ctx context.Context, key string, offset, length int64) (io.ReadCloser, storage.Attrs, error) {
	var o memoryObject
	err := m.around(ctx, "open", key, func() error {
		if err := driver.CheckRange(offset); err != nil {
			return err
		}
		var ok bool
		if o, ok = m.objects[key]; !ok {
			return storage.ErrNotExist
		}
		return nil
	})
	if err != nil {
		return nil, storage.Attrs{}, err
	}
	data := o.data[min(offset, int64(len(o.data))):]
	if length >= 0 {
		data = data[:min(length, int64(len(data)))]
	}
	return io.NopCloser(bytes.NewReader(data)), o.attrs, nil
}

// Create implements [storage.Store].
func (m *Memory) Create(ctx context.Context, key string, body storage.Body, attrs storage.Attrs) error {
	data := make([]byte, body.Size())
	if _, err := io.ReadFull(io.NewSectionReader(body, 0, body.Size()), data); err != nil {
		return &storage.Error{Op: "create", URL: m.String(), Key: key, Err: err}
	}
	if err := attrs.AwaitReady(); err != nil {
		return &storage.Error{Op: "create", URL: m.String(), Key: key, Err: err}
	}
	attrs.Ready = nil
	return m.around(ctx, "create", key, func() error {
		if _, ok := m.objects[key]; ok {
			return storage.ErrExists
		}
		if m.objects == nil {
			m.objects = map[string]memoryObject{}
		}
		m.objects[key] = memoryObject{data, attrs}
		return nil
	})
}

// Delete implements [storage.Store].
func (m *Memory) Delete(ctx context.Context, keys ...string) error {
	return m.around(ctx, "delete", strings.Join(keys, " "), func() error {
		for _, key := range keys {
			delete(m.objects, key)
		}
		return nil
	})
}

// Layout implements [storage.Store].
func (m *Memory) Layout() format.Layout { return format.LayoutHex }

// String implements [storage.Store].
func (m *Memory) String() string { return "memory://" + m.Name }

// Close implements [storage.Store].
func (m *Memory) Close() error { return nil }
