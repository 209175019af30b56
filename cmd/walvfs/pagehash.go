package main

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"io"
	"iter"

	"github.com/walvfs/walvfs/format"
	"github.com/walvfs/walvfs/shipper/storage"
)

// pageHash stands for a page's content. Two pages that differ have the same one in
// 1 of 2^64 cases, by accident.
type pageHash uint64

var hashSeed = maphash.MakeSeed()

func hashPage(page []byte) pageHash { return pageHash(maphash.Bytes(hashSeed, page)) }

// fileHashes is an LTX file with hashes for pages, 16 bytes each.
type fileHashes struct {
	format.FileInfo
	header format.LTXHeader
	pages  []hashedPage // ascending
	err    error        // why there is nothing of the above but FileInfo
}

type hashedPage struct {
	number uint32
	hash   pageHash
}

// has returns the hash of a page, if it is in the file.
func (f *fileHashes) has(number uint32) (pageHash, bool) {
	lo, hi := 0, len(f.pages)
	for lo < hi {
		if mid := (lo + hi) / 2; f.pages[mid].number < number {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	if lo == len(f.pages) || f.pages[lo].number != number {
		return 0, false
	}
	return f.pages[lo].hash, true
}

// readHashes reads a file to its end and checks all that a file alone can tell.
// What a broken connection may be the reason for is tried again.
func readHashes(ctx context.Context, store storage.Store, f format.FileInfo) *fileHashes {
	const attempts = 3
	for n := 1; ; n++ {
		h := &fileHashes{FileInfo: f}
		h.err = h.read(ctx, store)
		if h.err == nil || n == attempts || ctx.Err() != nil || errors.Is(h.err, storage.ErrNotExist) {
			return h
		}
	}
}

func (f *fileHashes) read(ctx context.Context, store storage.Store) error {
	body, _, err := store.Open(ctx, keyOf(store, f.FileInfo), 0, -1)
	if err != nil {
		return err
	}
	defer body.Close()
	r := &countingReader{Reader: body}
	f.header, _, err = format.Decode(r, func(_ format.LTXHeader, number uint32, page []byte) error {
		f.pages = append(f.pages, hashedPage{number, hashPage(page)})
		return nil
	})
	switch {
	case err != nil:
		return err
	case r.n != f.Size:
		return fmt.Errorf("%w: it has %d bytes, its listing says %d", format.ErrCorrupt, r.n, f.Size)
	case f.header.MinTXID != f.MinTXID || f.header.MaxTXID != f.MaxTXID:
		return fmt.Errorf("%w: its header says TXID %s to %s", format.ErrCorrupt, f.header.MinTXID, f.header.MaxTXID)
	}
	return nil
}

type countingReader struct {
	io.Reader
	n int64
}

func (r *countingReader) Read(p []byte) (int, error) {
	n, err := r.Reader.Read(p)
	r.n += int64(n)
	return n, err
}

// readAhead yields the hashes of files in order, while the next ones are read.
func readAhead(ctx context.Context, store storage.Store, files []format.FileInfo) iter.Seq[*fileHashes] {
	const ahead = 8
	return func(yield func(*fileHashes) bool) {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		queue := make(chan chan *fileHashes, ahead)
		go func() {
			defer close(queue)
			for _, f := range files {
				result := make(chan *fileHashes, 1)
				select {
				case queue <- result:
					go func() { result <- readHashes(ctx, store, f) }()
				case <-ctx.Done():
					return
				}
			}
		}()
		for result := range queue {
			if !yield(<-result) {
				return
			}
		}
	}
}
