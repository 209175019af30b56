package format

import (
	"bufio"
	"errors"
	"fmt"
	"io"

	"github.com/superfly/ltx"
)

// encoderBuffer bundles the four small writes that the library makes a page. It
// holds 15 pages of the default size.
const encoderBuffer = 64 << 10

// Encoder writes one LTX file, page by page, as a replica holds it. It keeps
// about 24 bytes of memory a page for the index; see [Encoder.SetSpillDir].
// It ends with [Encoder.Close] or [Encoder.Abort].
type Encoder struct {
	w     *bufio.Writer
	enc   *ltx.Encoder
	order pageOrder
}

// NewEncoder starts an LTX file with header h. It sets what is the same in all
// files of a replica: the version, the flags, which say that database checksums
// are not kept, and those checksums. It fails if a field has a value that it
// cannot have; a database of 0 pages is one. Writes to w are buffered, so that
// w's errors may come with a later call.
func NewEncoder(w io.Writer, h LTXHeader) (*Encoder, error) {
	h.Version = ltx.Version
	h.Flags = ltx.HeaderFlagNoChecksum
	h.PreApplyChecksum = 0
	if h.Commit == 0 {
		// The library would write it all and fail in Close: it wants a database
		// checksum there, and refuses one where none are kept.
		return nil, errors.New("format: encode LTX header: the database has 0 pages")
	}
	e := &Encoder{w: bufio.NewWriterSize(w, encoderBuffer), order: pageOrder{header: h}}
	var err error
	if e.enc, err = ltx.NewEncoder(e.w); err != nil {
		return nil, fmt.Errorf("format: encode LTX: %w", err)
	}
	if err := e.enc.EncodeHeader(h); err != nil {
		return nil, fmt.Errorf("format: encode LTX header: %w", err)
	}
	return e, nil
}

// SetSpillDir has the page index written to a temporary file in dir once it
// exceeds some 24 MiB, which is a million pages. Without it, the default, the
// index stays in memory. Call it before the first page.
func (e *Encoder) SetSpillDir(dir string) { e.enc.SetSpillDir(dir) }

// Page adds a page, whose data is not kept. Pages come in ascending order. It
// fails if one does not, is beyond the database's end or the lock page, has
// another length than the page size, or, in a file that starts at TXID 1, if a
// page is left out. Such an error leaves the file as it was; an error of the
// writer ends it.
func (e *Encoder) Page(pgno uint32, data []byte) error {
	order := e.order
	if err := order.next(pgno); err != nil {
		return fmt.Errorf("format: encode LTX: %w", err)
	}
	if err := e.enc.EncodePage(ltx.PageHeader{Pgno: pgno}, data); err != nil {
		return fmt.Errorf("format: encode LTX page %d: %w", pgno, err)
	}
	e.order = order
	return nil
}

// N returns the bytes encoded so far, those still in the buffer included; after
// Close, the size of the file.
func (e *Encoder) N() int64 { return e.enc.N() }

// Close writes the page index and the trailer, and returns the file's checksum.
// It does not close the writer. When it fails, the file is not complete and
// never will be.
func (e *Encoder) Close() (Checksum, error) {
	if err := e.order.end(); err != nil {
		return 0, errors.Join(fmt.Errorf("format: encode LTX: %w", err), e.Abort())
	}
	if err := e.enc.Close(); err != nil {
		return 0, fmt.Errorf("format: encode LTX: %w", err)
	}
	if err := e.w.Flush(); err != nil {
		return 0, fmt.Errorf("format: encode LTX: %w", err)
	}
	return e.enc.Trailer().FileChecksum, nil
}

// Abort gives the file up and removes its temporary file, if there is one.
// After Close it does nothing, so that it can be deferred.
func (e *Encoder) Abort() error {
	if err := e.enc.Cleanup(); err != nil {
		return fmt.Errorf("format: abort LTX: %w", err)
	}
	return nil
}
