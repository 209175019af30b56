package format

import (
	"errors"
	"fmt"
	"io"
)

// ScanWAL calls fn for each valid frame of a WAL, in order, n counted from 1. It stops
// without an error at the first invalid frame: cut off, with other salts, or with a
// checksum that does not continue the chain. SQLite's recovery reads the same frames;
// frames after the last frame with a commit size belong to a transaction that never
// committed. The page is only valid until fn returns, and fn may be nil.
//
// ScanWAL holds one page in memory. It fails with [ErrWALHeader] if the WAL's header is
// missing or wrong, and with r's or fn's own error.
func ScanWAL(r io.ReaderAt, fn func(n uint32, f Frame, page []byte) error) (WALHeader, error) {
	b := make([]byte, WALHeaderSize)
	got, err := readFullAt(r, b, 0)
	if err != nil {
		return WALHeader{}, fmt.Errorf("format: read WAL header: %w", err)
	}
	h, err := ParseWALHeader(b[:got])
	if err != nil {
		return WALHeader{}, err
	}
	return h, h.Scan(r, 0, h.Checksum, fn)
}

// Scan is [ScanWAL], but starts after frame n, whose checksum is sum: it does not read
// again the frames known to be valid.
func (h WALHeader) Scan(r io.ReaderAt, n uint32, sum [2]uint32, fn func(n uint32, f Frame, page []byte) error) error {
	b := make([]byte, FrameHeaderSize+h.PageSize)
	page := b[FrameHeaderSize:]
	for n++; ; n++ {
		got, err := readFullAt(r, b, FrameOffset(h.PageSize, n))
		if err != nil {
			return fmt.Errorf("format: read WAL frame %d: %w", n, err)
		}
		if got < len(b) {
			return nil
		}
		f := ParseFrame(b)
		sum = h.Chain(sum, f, page)
		if f.Page == 0 || f.Salt != h.Salt || f.Checksum != sum {
			return nil
		}
		if fn == nil {
			continue
		}
		if err := fn(n, f, page); err != nil {
			return err
		}
	}
}

// LastCommit reads a whole WAL and returns the number of its last commit frame, and that
// frame: its Commit is the database's size in pages. The number is 0 if the WAL has no
// commit. LastCommit fails as [ScanWAL] does.
func LastCommit(r io.ReaderAt) (h WALHeader, last uint32, f Frame, err error) {
	h, err = ScanWAL(r, func(n uint32, g Frame, _ []byte) error {
		if g.Commit != 0 {
			last, f = n, g
		}
		return nil
	})
	return h, last, f, err
}

// readFullAt reads as much of b as exists. The end of the file is no error.
func readFullAt(r io.ReaderAt, b []byte, off int64) (int, error) {
	n, err := r.ReadAt(b, off)
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return n, err
}
