package wal

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/maphash"
	"io"
	"os"

	"github.com/ncruces/go-sqlite3/vfs"

	"github.com/walvfs/walvfs/format"
)

// A Fingerprint has a hash of each page of a database at each commit in its WAL. It can
// be compared with a replica however long the download takes. It needs 8 bytes of memory
// for each page, and 16 for each frame.
type Fingerprint struct {
	At format.WALIndex

	seed   maphash.Seed
	file   []uint64 // by page number - 1: page hashes of the database file
	zero   uint64   // hash of a page that was never written
	frames []frame  // of the WAL, up to the boundary
	copied uint32   // frames that checkpoints may have copied to the database file
}

type frame struct {
	page, commit uint32
	hash         uint64
}

// Fingerprint reads a whole database at the snapshot's boundary. The mark must be held
// meanwhile. The index shows how far checkpoints have come.
func (s *Snapshot) Fingerprint(ctx context.Context, index io.ReaderAt) (*Fingerprint, error) {
	f := &Fingerprint{At: s.At, seed: maphash.MakeSeed()}
	f.zero = maphash.Bytes(f.seed, make([]byte, s.At.PageSize))
	if err := f.readFrames(ctx, s); err != nil {
		return nil, err
	}
	if err := f.readFile(ctx, s); err != nil {
		return nil, err
	}
	return f, f.readBackfill(index)
}

// readBackfill finds out how far checkpoints have come. If the WAL was reset meanwhile,
// which a mark of 0 allows, they had come to its end, but the index does not show it.
func (f *Fingerprint) readBackfill(index io.ReaderAt) (err error) {
	if f.copied, err = backfillAttempted(index); err != nil {
		return err
	}
	now, err := Boundary(index)
	if err == nil && now.Salt != f.At.Salt {
		f.copied = f.At.MxFrame
	}
	return err
}

// FingerprintFound is [Snapshot.Fingerprint] of a database that no connection has open,
// as Look found it.
func FingerprintFound(ctx context.Context, database string, found Found) (*Fingerprint, error) {
	main, err := os.Open(database)
	if err != nil {
		return nil, err
	}
	defer main.Close()
	at, err := found.boundary(main)
	if err != nil {
		return nil, err
	}
	s := &Snapshot{At: at, Main: closedFile{main}}
	if at.MxFrame > 0 {
		log, err := os.Open(database + "-wal")
		if err != nil {
			return nil, err
		}
		defer log.Close()
		s.WAL = closedFile{log}
	}
	if err := s.Begin(); err != nil {
		return nil, err
	}
	f := &Fingerprint{At: at, seed: maphash.MakeSeed()}
	f.zero = maphash.Bytes(f.seed, make([]byte, at.PageSize))
	if err := f.readFrames(ctx, s); err != nil {
		return nil, err
	}
	return f, f.readFile(ctx, s)
}

// boundary returns the boundary that the WAL index would have.
func (f Found) boundary(main io.ReaderAt) (at format.WALIndex, err error) {
	if f.Err != nil {
		return at, f.Err
	}
	at = format.WALIndex{PageSize: f.WAL.PageSize, MxFrame: f.Last, Salt: f.WAL.Salt}
	if at.PageSize == 0 {
		var header [100]byte
		if _, err := main.ReadAt(header[:], 0); err != nil {
			return at, err
		}
		at.PageSize = format.DatabasePageSize(header[:])
	}
	if at.PageSize < 512 || at.PageSize&(at.PageSize-1) != 0 {
		return at, fmt.Errorf("the database header has page size %d", at.PageSize)
	}
	return at, nil
}

// closedFile is a file without writers.
type closedFile struct{ *os.File }

func (closedFile) Sync(vfs.SyncFlag) error { return nil }

func (f *Fingerprint) readFrames(ctx context.Context, s *Snapshot) error {
	f.frames = make([]frame, 0, s.At.MxFrame)
	b := make([]byte, format.FrameHeaderSize+s.At.PageSize)
	for n := uint32(1); n <= s.At.MxFrame; n++ {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if _, err := s.WAL.ReadAt(b, format.FrameOffset(s.At.PageSize, n)); err != nil {
			return fmt.Errorf("WAL frame %d: %w", n, err)
		}
		h, page := format.ParseFrame(b), b[format.FrameHeaderSize:]
		if h.Salt != s.At.Salt {
			return ErrMoved
		}
		if s.checksums {
			fillChecksum(page)
		}
		f.frames = append(f.frames, frame{h.Page, h.Commit, maphash.Bytes(f.seed, page)})
	}
	return nil
}

func (f *Fingerprint) readFile(ctx context.Context, s *Snapshot) error {
	b := make([]byte, 1<<20)
	for off := int64(0); ; off += int64(len(b)) {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		n, err := s.Main.ReadAt(b, off)
		for page := b[:n]; len(page) >= int(s.At.PageSize); page = page[s.At.PageSize:] {
			f.file = append(f.file, maphash.Bytes(f.seed, page[:s.At.PageSize]))
		}
		switch {
		case errors.Is(err, io.EOF), n < len(b) && err == nil:
			return nil
		case err != nil:
			return err
		}
	}
}

// backfillAttempted reads the number of frames that checkpoints have copied, or begun to
// copy, to the database file.
//
// https://sqlite.org/walformat.html#the_walckptinfo_object
func backfillAttempted(index io.ReaderAt) (uint32, error) {
	const offset = 128
	var b [4]byte
	if _, err := index.ReadAt(b[:], offset); err != nil {
		return 0, fmt.Errorf("WAL index: %w", err)
	}
	return binary.NativeEndian.Uint32(b[:]), nil
}
