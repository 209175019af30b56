package main

import (
	"context"
	"io"
	"net/url"
	"os"
	"path/filepath"

	"github.com/walvfs/walvfs/shipper/storage"
)

// stalledStore is a replica whose downloads stop after some bytes. Then it creates a file
// "stalled" in its directory.
type stalledStore struct {
	storage.Store
	dir string
}

func openStalled(ctx context.Context, u *url.URL, opts storage.Options) (storage.Store, error) {
	store, err := storage.Open(ctx, "file://"+u.Path, opts)
	return stalledStore{store, u.Path}, err
}

func (s stalledStore) Open(ctx context.Context, key string, offset, length int64) (io.ReadCloser, storage.Attrs, error) {
	r, attrs, err := s.Store.Open(ctx, key, offset, length)
	if err != nil {
		return nil, attrs, err
	}
	return &stalledReader{ctx, r, s.dir, 1000}, attrs, nil
}

type stalledReader struct {
	ctx context.Context
	io.ReadCloser
	dir string
	n   int
}

func (r *stalledReader) Read(p []byte) (int, error) {
	if r.n == 0 {
		if err := os.WriteFile(filepath.Join(r.dir, "stalled"), nil, 0o600); err != nil {
			return 0, err
		}
		<-r.ctx.Done()
		return 0, r.ctx.Err()
	}
	n, err := r.ReadCloser.Read(p[:min(len(p), r.n)])
	r.n -= n
	return n, err
}
