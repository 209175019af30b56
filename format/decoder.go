package format

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/superfly/ltx"
)

const decoderBuffer = 64 << 10

// Decode reads one LTX file through, calling fn for each page in ascending
// order, and verifies the page index, the trailer and the file checksum. It
// reads what this package and Litestream write, files with database checksums
// and with pages in the older frame encoding included. r must end where the
// file does. The page is only valid until fn returns, and fn may be nil.
//
// Pages reach fn before the checksum is known: do not trust them until Decode
// has returned nil. It fails with [ErrCorrupt] if the bytes are at fault, and
// with r's or fn's own error otherwise. Memory is bounded whatever the bytes
// say.
func Decode(r io.Reader, fn func(h LTXHeader, pgno uint32, page []byte) error) (LTXHeader, LTXTrailer, error) {
	src := &failReader{r: r}
	d := decoder{br: bufio.NewReaderSize(src, decoderBuffer), fn: fn}
	d.dec = ltx.NewDecoder(d.br)
	d.dec.SetRetainPageIndex(false)

	err := d.run()
	switch {
	case err == nil:
		return d.order.header, d.dec.Trailer(), nil
	case d.fnErr != nil:
		return LTXHeader{}, LTXTrailer{}, d.fnErr
	case src.err != nil:
		err = src.err
	case errors.Is(err, io.EOF): // before the file's end: not an end that a caller may take for one
		err = fmt.Errorf("%w: %w", ErrCorrupt, io.ErrUnexpectedEOF)
	default:
		err = fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	return LTXHeader{}, LTXTrailer{}, fmt.Errorf("format: decode LTX: %w", err)
}

// decoder is one run of Decode.
type decoder struct {
	br    *bufio.Reader
	dec   *ltx.Decoder
	order pageOrder
	fn    func(h LTXHeader, pgno uint32, page []byte) error
	fnErr error // of fn, as it returned it
}

func (d *decoder) run() error {
	if err := d.dec.DecodeHeader(); err != nil {
		return err
	}
	h := d.dec.Header()
	d.order.header = h
	page := make([]byte, h.PageSize)
	for {
		pgno, err := d.peek()
		if err != nil {
			return err
		}
		var ph ltx.PageHeader
		if err := d.dec.DecodePage(&ph, page); err == io.EOF && pgno == 0 {
			break
		} else if err != nil {
			return fmt.Errorf("page %d: %w", pgno, err)
		}
		if d.fn == nil {
			continue
		}
		if d.fnErr = d.fn(h, pgno, page); d.fnErr != nil {
			return d.fnErr
		}
	}
	if err := d.order.end(); err != nil {
		return err
	}
	if err := d.dec.Close(); err != nil {
		return err
	}
	t := d.dec.Trailer()
	return t.Validate(h)
}

// peek checks the page header that comes next and returns its page number, 0
// where the pages end. The library takes 4 bytes of the file for the size of a
// buffer, so it must not see them before they were compared with the most that
// a page can need.
func (d *decoder) peek() (uint32, error) {
	b, err := d.br.Peek(ltx.PageHeaderSize)
	if err != nil {
		return 0, err
	}
	var ph ltx.PageHeader
	if err := ph.UnmarshalBinary(b); err != nil {
		return 0, err
	}
	if ph.IsZero() {
		return 0, nil
	}
	if err := d.order.next(ph.Pgno); err != nil {
		return 0, err
	}
	if ph.Flags&ltx.PageHeaderFlagSize == 0 {
		return ph.Pgno, nil // an LZ4 frame: its reader has buffers of 8 MiB at most
	}
	b, err = d.br.Peek(ltx.PageHeaderSize + 4)
	if err != nil {
		return 0, err
	}
	if size := binary.BigEndian.Uint32(b[ltx.PageHeaderSize:]); size > maxBlock(d.order.header.PageSize) {
		return 0, fmt.Errorf("page %d: compressed to %d bytes, more than a page can need", ph.Pgno, size)
	}
	return ph.Pgno, nil
}

// maxBlock returns the most bytes that n bytes have as an LZ4 block:
// LZ4_compressBound in https://github.com/lz4/lz4/blob/dev/lib/lz4.h.
func maxBlock(n uint32) uint32 { return n + n/255 + 16 }

// failReader remembers an error of the reader other than its end, to tell "read
// wrong" from "stored wrong".
type failReader struct {
	r   io.Reader
	err error
}

func (r *failReader) Read(p []byte) (int, error) {
	n, err := r.r.Read(p)
	if err != nil && err != io.EOF {
		r.err = err
	}
	return n, err
}
