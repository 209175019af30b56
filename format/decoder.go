package format

import (
	"errors"
	"fmt"
	"io"
)

// decodeBuffer is the bytes that Decode requests from its reader at once. The buffer
// grows, by up to [MaxPageFrame], for a file whose pages need it.
const decodeBuffer = 64 << 10

// Decode reads a whole LTX file, calls fn for each page in ascending order, and verifies
// the page index, the trailer and the file checksum. It reads the files that this package
// and Litestream write, including files with database checksums and with pages in the
// older frame encoding. r must end where the file does. The page is only valid until fn
// returns, and fn may be nil.
//
// Pages reach fn before the checksum is known: do not trust them until Decode has
// returned nil. It fails with [ErrCorrupt] if the bytes are damaged, and with r's or fn's
// own error otherwise. Memory is bounded whatever the bytes contain.
//
// Decode is a [Scanner] and a [PageDecoder] in one goroutine.
func Decode(r io.Reader, fn func(h LTXHeader, pgno uint32, page []byte) error) (LTXHeader, LTXTrailer, error) {
	d := &decoding{fn: fn}
	d.scanner = NewScanner(d.frame)
	if err := d.run(r); err != nil {
		return LTXHeader{}, LTXTrailer{}, err
	}
	if err := d.scanner.Verify([]PageSum{d.sum}); err != nil {
		return LTXHeader{}, LTXTrailer{}, err
	}
	return d.scanner.Header(), d.scanner.Trailer(), nil
}

// decoding is one run of Decode.
type decoding struct {
	scanner *Scanner
	pages   PageDecoder
	page    []byte // nil before the first page
	sum     PageSum
	fn      func(h LTXHeader, pgno uint32, page []byte) error
}

func (d *decoding) run(r io.Reader) error {
	buf, held := make([]byte, decodeBuffer), 0
	for {
		n, err := r.Read(buf[held:])
		held += n
		used, fed := d.scanner.Feed(buf[:held])
		if fed != nil {
			return fed
		}
		held = copy(buf, buf[used:held])
		switch {
		case err == io.EOF:
			return d.end(held)
		case err != nil:
			return fmt.Errorf("format: decode LTX: %w", err)
		case held == len(buf): // the scanner refuses more bytes than a frame can have
			buf = append(buf, make([]byte, decodeBuffer)...)
		}
	}
}

// end is called where the reader ends. Bytes left over are the beginning of an incomplete
// part.
func (d *decoding) end(left int) error {
	if err := d.scanner.Close(); err != nil || left == 0 {
		return err
	}
	return corrupt(errors.New("bytes after the trailer"))
}

func (d *decoding) frame(f PageFrame) error {
	h := d.scanner.Header()
	if d.page == nil {
		d.page, d.sum = make([]byte, h.PageSize), d.scanner.Sum()
	}
	if err := d.pages.Decode(f, d.page, &d.sum); err != nil {
		return err
	}
	if d.fn == nil {
		return nil
	}
	return d.fn(h, f.Number, d.page)
}
