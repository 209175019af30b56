package format

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/pierrec/lz4/v4"
	"github.com/superfly/ltx"
)

// Encoder writes one LTX file, page by page, as a replica holds it:
// github.com/superfly/ltx writes the same bytes. It keeps about 3 bytes of memory per
// page for the index, 8 MiB for a database of 10 GiB, and needs no temporary file. It
// ends with [Encoder.Close] or [Encoder.Abort].
type Encoder struct {
	w     io.Writer
	order pageOrder
	n     int64 // bytes encoded, including those in the buffer
	crc   crcSum
	sum   Checksum // of the file, once it is complete
	index pageSizes
	space *workspace // nil once the encoder has ended
	ended error      // why it accepts no more pages
}

// workspace is the memory that encoding needs. It is pooled because it is too large to
// allocate for each of the small files that most commits are.
type workspace struct {
	lz4 lz4.Compressor
	buf []byte // bytes that the writer has not received
}

// encoderBuffer is the bytes that the writer gets at once. It holds 15 pages of the
// default size.
const encoderBuffer = 64 << 10

var workspaces = sync.Pool{New: func() any {
	return &workspace{buf: make([]byte, 0, encoderBuffer+MaxPageFrame)}
}}

// NewEncoder starts an LTX file with header h. It sets the fields that are the same in
// all files of a replica: the version, the flags, which say that database checksums are
// not kept, and those checksums. It fails if a field has an invalid value, such as a
// database of 0 pages. Writes to w are buffered, so a later call may return w's errors.
func NewEncoder(w io.Writer, h LTXHeader) (*Encoder, error) {
	h.Version = ltx.Version
	h.Flags = ltx.HeaderFlagNoChecksum
	h.PreApplyChecksum = 0
	err := h.library().Validate()
	if err == nil && h.Commit == 0 {
		err = errors.New("the database has 0 pages")
	}
	var b []byte
	if err == nil {
		b, err = h.library().MarshalBinary()
	}
	if err != nil {
		return nil, fmt.Errorf("format: encode LTX header: %w", err)
	}
	e := &Encoder{w: w, order: pageOrder{header: h}, space: workspaces.Get().(*workspace)}
	e.space.buf = e.space.buf[:0]
	e.add(b)
	return e, nil
}

// Page adds a page and does not keep its data. Pages come in ascending order. Page fails
// if a page is out of order, is beyond the database's end, is the lock page, differs in
// length from the page size, or, in a file that starts at TXID 1, if a page before it is
// missing. Such an error leaves the file unchanged; an error of the writer ends it.
func (e *Encoder) Page(pgno uint32, data []byte) error {
	order, err := e.order, e.ended
	if err == nil {
		err = order.next(pgno)
	}
	if err == nil && len(data) != int(order.header.PageSize) {
		err = fmt.Errorf("page %d has %d bytes instead of %d", pgno, len(data), order.header.PageSize)
	}
	if err != nil {
		return fmt.Errorf("format: encode LTX: %w", err)
	}
	frame := e.n
	if err := e.frame(pgno, data); err != nil {
		return e.end(fmt.Errorf("format: encode LTX page %d: %w", pgno, err))
	}
	e.index.add(pgno-e.order.last, uint32(e.n-frame))
	e.order = order
	return nil
}

// frame writes a page's header, the size of its LZ4 block, and the block. The checksum
// covers the page before compression.
func (e *Encoder) frame(pgno uint32, data []byte) error {
	const size = ltx.PageHeaderSize // offset of the size
	buf := e.space.buf
	head := buf[len(buf) : len(buf)+size+4]
	binary.BigEndian.PutUint32(head, pgno)
	binary.BigEndian.PutUint16(head[4:], ltx.PageHeaderFlagSize)
	block := buf[len(buf)+len(head) : cap(buf)]
	n, err := e.space.lz4.CompressBlock(data, block[:maxBlock(uint32(len(data)))])
	if err != nil {
		return err
	}
	binary.BigEndian.PutUint32(head[size:], uint32(n))
	e.crc.write(head)
	e.crc.write(data)
	e.n += int64(len(head) + n)
	e.space.buf = buf[:len(buf)+len(head)+n]
	return e.flush(encoderBuffer)
}

// add encodes bytes that the checksum covers unchanged. They must fit into the buffer.
func (e *Encoder) add(b []byte) {
	e.crc.write(b)
	e.n += int64(len(b))
	e.space.buf = append(e.space.buf, b...)
}

// flush writes the buffer to the writer, if the buffer has at least that many bytes.
func (e *Encoder) flush(least int) error {
	buf := e.space.buf
	if len(buf) < least {
		return nil
	}
	n, err := e.w.Write(buf)
	if err == nil && n < len(buf) {
		err = io.ErrShortWrite
	}
	e.space.buf = buf[:0]
	return err
}

// N returns the bytes encoded so far, including those still in the buffer; after Close,
// the size of the file.
func (e *Encoder) N() int64 { return e.n }

// Close writes the page index and the trailer, and returns the file's checksum.
// It does not close the writer. When it fails, the file is not complete and
// never will be.
func (e *Encoder) Close() (Checksum, error) {
	switch {
	case e.sum != 0:
		return e.sum, nil
	case e.ended != nil:
		return 0, fmt.Errorf("format: encode LTX: %w", e.ended)
	}
	err := e.order.end()
	if err == nil {
		err = e.finish()
	}
	if err != nil {
		return 0, e.end(fmt.Errorf("format: encode LTX: %w", err))
	}
	e.sum = checksumFlag | Checksum(e.crc.crc)
	e.end(nil)
	return e.sum, nil
}

// finish writes the parts after the pages: [PageEndSize] zeros, an entry of the index for
// each page, a zero, the index's size, and the trailer.
func (e *Encoder) finish() error {
	e.add(make([]byte, PageEndSize))
	index := e.n
	at := PageEntry{Offset: LTXHeaderSize}
	entry := make([]byte, 0, 3*binary.MaxVarintLen64)
	for skip, size := range e.index.all() {
		at.Number, at.Size = at.Number+skip, int64(size)
		entry = binary.AppendUvarint(entry[:0], uint64(at.Number))
		entry = binary.AppendUvarint(entry, uint64(at.Offset))
		entry = binary.AppendUvarint(entry, uint64(at.Size))
		e.add(entry)
		if err := e.flush(encoderBuffer); err != nil {
			return err
		}
		at.Offset = at.End()
	}
	e.add([]byte{0})
	e.add(binary.BigEndian.AppendUint64(nil, uint64(e.n-index)))
	var none Checksum // of the database
	e.add(binary.BigEndian.AppendUint64(nil, uint64(none)))
	e.space.buf = binary.BigEndian.AppendUint64(e.space.buf, uint64(ltx.ChecksumFlag)|e.crc.crc)
	e.n += ltx.ChecksumSize
	return e.flush(0)
}

// end makes the encoder accept no more pages, and returns the error.
func (e *Encoder) end(err error) error {
	if e.ended == nil {
		e.ended = ltx.ErrEncoderAborted
		workspaces.Put(e.space)
		e.space, e.index = nil, pageSizes{}
	}
	return err
}

// Abort abandons the file. After Close it does nothing, so it can be deferred.
func (e *Encoder) Abort() { e.end(nil) }
