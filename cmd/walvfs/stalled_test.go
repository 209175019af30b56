package main

import (
	"context"
	"io"
	"net/url"

	"github.com/walvfs/walvfs/shipper/storage"
)

// stalledStore is a replica whose downloads stop after some bytes.
type stalledStore struct{ storage.Store }

func openStalled(ctx context.Context, u *url.URL, opts storage.Options) (storage.Store, error) {
	store, err := storage.Open(ctx, "file://"+u.Path, opts)
	return stalledStore{store}, err
}

func (s stalledStore) Open(ctx context.Context, key string, offset, length int64) (io.ReadCloser, storage.Attrs, error) {
	r, attrs, err := s.Store.Open(ctx, key, offset, length)
	if err != nil {
		return nil, attrs, err
	}
	return &stalledReader{ctx, r, 1000}, attrs, nil
}

type stalledReader struct {
	ctx context.Context
	io.ReadCloser
	n int
}

func (r *stalledReader) Read(p []byte) (int, error) {
	if r.n == 0 {
		<-r.ctx.Done()
		return 0, r.ctx.Err()
	}
	n, err := r.ReadCloser.Read(p[:min(len(p), r.n)])
	r.n -= n
	return n, err
}
