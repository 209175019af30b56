package format

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/superfly/ltx"
)

// Scanner reads an LTX file without decompressing it, so that other goroutines can
// decompress its pages in parallel. It takes the file's bytes piece by piece, and returns
// page frames.
//
//	Feed     bytes -> PageFrame ...      one after another: some GB/s
//	Decode   PageFrame -> page, PageSum  in as many goroutines as there are
//	Verify   all PageSums -> the file's checksum
//
// It checks every page number, size and offset, the page index and the checksums, and
// fails with [ErrCorrupt] if one is wrong. There is no other decoder: [Decode] does all
// of this in one goroutine.
type Scanner struct {
	page func(PageFrame) error

	step    func(b []byte) (int, error) // reads the next part
	order   pageOrder
	run     uint32 // first page of the last run without a gap
	last    PageEntry
	frames  uint64 // hash of the positions of pages
	indexed uint64 // hash of their positions in the index
	index   PageIndexParser
	trailer LTXTrailer

	head, tail crcSum // before and after the pages
}

// NewScanner returns a scanner of one file that calls fn for each page frame. The frame
// is a part of the bytes fed.
func NewScanner(fn func(PageFrame) error) *Scanner {
	s := &Scanner{page: fn}
	s.step = s.scanHeader
	return s
}

// Header returns the file's header, or a zero header before it was fed. It can be trusted
// once [Scanner.Verify] has returned nil.
func (s *Scanner) Header() LTXHeader { return s.order.header }

// Trailer returns the file's trailer, once it was fed.
func (s *Scanner) Trailer() LTXTrailer { return s.trailer }

// Feed reads the file's next bytes and returns how many. The other bytes, fewer than
// [MaxPageFrame], begin an incomplete part: feed them again, with the bytes that follow
// them.
func (s *Scanner) Feed(b []byte) (n int, err error) {
	for n < len(b) {
		m, err := s.step(b[n:])
		if err != nil || m == 0 {
			return n, err
		}
		n += m
	}
	return n, nil
}

// Close checks that the file was fed to its end.
func (s *Scanner) Close() error {
	if s.trailer == (LTXTrailer{}) {
		return corrupt(io.ErrUnexpectedEOF)
	}
	return nil
}

// Sum returns an empty sum for pages of this file.
func (s *Scanner) Sum() PageSum {
	h := s.order.header
	return PageSum{database: h.IsSnapshot() && !h.NoChecksum()}
}

// Verify compares the checksums of a file after Close. The sums must cover all pages, in
// the order of the file.
func (s *Scanner) Verify(sums []PageSum) error {
	crc, pages := s.head, Checksum(0)
	for _, sum := range sums {
		crc.append(sum.crc)
		pages ^= sum.pages
	}
	crc.append(s.tail)
	if got := checksumFlag | Checksum(crc.crc); got != s.trailer.FileChecksum {
		return corrupt(fmt.Errorf("its checksum is %s, and %s by its bytes", s.trailer.FileChecksum, got))
	}
	if err := s.trailer.validate(s.order.header); err != nil {
		return corrupt(err)
	}
	if got := checksumFlag | pages; s.Sum().database && got != s.trailer.PostApplyChecksum {
		return corrupt(fmt.Errorf("the database's checksum is %s, and %s by its pages", s.trailer.PostApplyChecksum, got))
	}
	return nil
}

// Whole returns the lowest page number from which on the file holds every page of the
// database but the lock page: 1 if the file holds a whole database, one more than the
// header's commit if the file lacks the last page.
func (s *Scanner) Whole() uint32 {
	if s.order.last == 0 || s.order.following() <= s.order.header.Commit {
		return s.order.header.Commit + 1
	}
	return s.run
}

func (s *Scanner) scanHeader(b []byte) (n int, err error) {
	if len(b) < LTXHeaderSize {
		return 0, nil
	}
	b = b[:LTXHeaderSize]
	if s.order.header, err = ParseLTXHeader(b); err != nil {
		return 0, err
	}
	s.head.write(b)
	s.step = s.scanPage
	return len(b), nil
}

func (s *Scanner) scanPage(b []byte) (int, error) {
	f, err := cutFrame(b, s.order.header.PageSize)
	switch {
	case err != nil:
		return 0, corrupt(err)
	case len(f.raw) == 0:
		return 0, nil
	case f.Number == 0:
		if err := s.order.end(); err != nil {
			return 0, corrupt(err)
		}
		s.tail.write(f.raw)
		s.step = s.scanIndex
		return len(f.raw), nil
	}
	if s.order.last == 0 || f.Number != s.order.following() {
		s.run = f.Number
	}
	if err := s.order.next(f.Number); err != nil {
		return 0, corrupt(err)
	}
	s.last = PageEntry{f.Number, max(s.last.End(), LTXHeaderSize), int64(len(f.raw))}
	s.frames = hashEntry(s.frames, s.last)
	return len(f.raw), s.page(f)
}

// hashEntry adds a page's position to a hash of the positions before it. The file's
// checksum protects the index: this hash only finds an encoder whose index differs from
// its pages.
func hashEntry(h uint64, e PageEntry) uint64 {
	const prime = 1099511628211 // FNV's
	for _, v := range [...]uint64{uint64(e.Number), uint64(e.Offset), uint64(e.Size)} {
		h = (h ^ v) * prime
	}
	return h
}

func (s *Scanner) scanIndex(b []byte) (int, error) {
	n, err := s.index.Feed(b, func(e PageEntry) { s.indexed = hashEntry(s.indexed, e) })
	if err != nil {
		return 0, err
	}
	if s.index.Ended() {
		s.step = s.scanIndexSize
	}
	s.tail.write(b[:n])
	return n, nil
}

func (s *Scanner) scanIndexSize(b []byte) (int, error) {
	if len(b) < 8 {
		return 0, nil
	}
	if size := binary.BigEndian.Uint64(b); size != uint64(s.index.Size()) {
		return 0, corruptIndex(fmt.Errorf("it has %d bytes and says %d", s.index.Size(), size))
	}
	if s.indexed != s.frames {
		return 0, corruptIndex(errors.New("it has other pages, offsets or sizes than the file"))
	}
	s.tail.write(b[:8])
	s.step = s.scanTrailer
	return 8, nil
}

func (s *Scanner) scanTrailer(b []byte) (n int, err error) {
	if len(b) < LTXTrailerSize {
		return 0, nil
	}
	b = b[:LTXTrailerSize]
	if s.trailer, err = ParseLTXTrailer(b); err != nil {
		return 0, err
	}
	s.tail.write(b[:ltx.TrailerChecksumOffset])
	s.step = func([]byte) (int, error) { return 0, corrupt(errors.New("bytes after the trailer")) }
	return len(b), nil
}

func corrupt(err error) error { return fmt.Errorf("format: decode LTX: %w: %w", ErrCorrupt, err) }
