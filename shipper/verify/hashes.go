package verify

import (
	"context"
	"errors"
	"hash/maphash"
	"iter"

	"github.com/walvfs/walvfs/format"
	"github.com/walvfs/walvfs/shipper/replica"
)

// pageHash stands for a page's content. Two different pages collide by accident in 1 of
// 2^64 cases.
type pageHash uint64

var hashSeed = maphash.MakeSeed()

func hashPage(page []byte) pageHash { return pageHash(maphash.Bytes(hashSeed, page)) }

// fileHashes is an LTX file with hashes for pages, 16 bytes each.
type fileHashes struct {
	format.FileInfo
	header format.LTXHeader
	pages  []hashedPage // ascending
	err    error        // if not nil, only FileInfo is set
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

// readHashes reads a file to its end and checks everything that a file alone can prove.
// Damage may have happened in transit: it reads the file again.
func readHashes(ctx context.Context, from *replica.Replica, f format.FileInfo) *fileHashes {
	const attempts = 3
	for n := 1; ; n++ {
		h := &fileHashes{FileInfo: f}
		h.header, _, h.err = from.Decode(ctx, f, func(_ format.LTXHeader, number uint32, page []byte) error {
			h.pages = append(h.pages, hashedPage{number, hashPage(page)})
			return nil
		})
		if _, bad := errors.AsType[*replica.Damaged](h.err); !bad || n == attempts || ctx.Err() != nil {
			return h
		}
	}
}

// readAhead yields the hashes of files in order, while it reads the next files.
func readAhead(ctx context.Context, from *replica.Replica, files []format.FileInfo) iter.Seq[*fileHashes] {
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
					go func() { result <- readHashes(ctx, from, f) }()
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
