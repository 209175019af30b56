package replica

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/walvfs/walvfs/format"
	"github.com/walvfs/walvfs/shipper/storage"
)

// smallFile is the size in bytes up to which [Replica.Ends] reads a file as a whole, in
// one request.
const smallFile = 1 << 20

// Header reads a file's header, and compares it with the file's key: an object copied to
// another file's key is intact, but wrong.
func (r *Replica) Header(ctx context.Context, f format.FileInfo) (format.LTXHeader, error) {
	b, err := r.Read(ctx, f, 0, format.LTXHeaderSize)
	if err != nil {
		return format.LTXHeader{}, err
	}
	return r.header(f, b)
}

// HeaderAt reads the header of a file that ends at a TXID, of the lowest level that has
// such a file: its time is the most reliable. HeaderAt passes over files with a damaged
// header, if there is another file.
func (r *Replica) HeaderAt(ctx context.Context, files Files, txid format.TXID) (h format.LTXHeader, err error) {
	for {
		f, ok := files.At(txid)
		if !ok && err == nil {
			err = r.PlanError(fmt.Errorf("no file ends at TXID %s", txid))
		}
		if !ok {
			return h, err
		}
		h, err = r.Header(ctx, f.FileInfo)
		if _, bad := errors.AsType[*Damaged](err); !bad {
			return h, err
		}
		files = files.Without(f.FileInfo)
	}
}

func (r *Replica) header(f format.FileInfo, b []byte) (format.LTXHeader, error) {
	h, err := format.ParseLTXHeader(b)
	if err == nil {
		err = Match(h, f)
	}
	if err != nil {
		return format.LTXHeader{}, r.FileError(f, err)
	}
	return h, nil
}

// Match compares a header with its file's key. Its error wraps [format.ErrCorrupt].
func Match(h format.LTXHeader, f format.FileInfo) error {
	if h.MinTXID != f.MinTXID || h.MaxTXID != f.MaxTXID {
		return fmt.Errorf("%w: its header says TXID %s to %s", format.ErrCorrupt, h.MinTXID, h.MaxTXID)
	}
	return nil
}

// Trailer reads a file's trailer.
func (r *Replica) Trailer(ctx context.Context, f format.FileInfo) (format.LTXTrailer, error) {
	b, err := r.Read(ctx, f, f.Size-format.LTXTrailerSize, format.LTXTrailerSize)
	if err != nil {
		return format.LTXTrailer{}, err
	}
	t, err := format.ParseLTXTrailer(b)
	return t, r.FileError(f, err)
}

// Ends reads a file's header and trailer, which distinguish it from every other file with
// its key. A small file takes one request.
func (r *Replica) Ends(ctx context.Context, f format.FileInfo) (h format.LTXHeader, t format.LTXTrailer, err error) {
	if f.Size > smallFile {
		if h, err = r.Header(ctx, f); err == nil {
			t, err = r.Trailer(ctx, f)
		}
		return h, t, err
	}
	if f.Size < format.LTXHeaderSize+format.LTXTrailerSize {
		return h, t, r.FileError(f, fmt.Errorf("%w: it has %d bytes", format.ErrCorrupt, f.Size))
	}
	b, err := r.Read(ctx, f, 0, f.Size)
	if err != nil {
		return h, t, err
	}
	if h, err = r.header(f, b[:format.LTXHeaderSize]); err != nil {
		return h, t, err
	}
	t, err = format.ParseLTXTrailer(b[len(b)-format.LTXTrailerSize:])
	return h, t, r.FileError(f, err)
}

// A Tip is a file with the header and checksum that distinguish it from every other file
// with its TXIDs.
type Tip struct {
	format.FileInfo // with the header's Time
	Header          format.LTXHeader
	Checksum        format.Checksum
}

// Identify reads the parts that distinguish a file from every other file with its TXIDs.
func (r *Replica) Identify(ctx context.Context, f format.FileInfo) (*Tip, error) {
	h, t, err := r.Ends(ctx, f)
	if err != nil {
		return nil, err
	}
	f.Time = time.UnixMilli(h.Timestamp)
	return &Tip{f, h, t.FileChecksum}, nil
}

// Tip returns the file with the newest TXID, nil if the replica has no file. If several
// files end at that TXID, it returns the file of the lowest level. It does not list files
// of level 0 before the TXID from, unless no file of any level ends at or after it.
func (r *Replica) Tip(ctx context.Context, from format.TXID) (*Tip, error) {
	files, err := Collect(r.List(ctx, from))
	if err != nil {
		return nil, err
	}
	at, ok := files.At(files.Newest())
	switch {
	case from > 1 && at.MaxTXID < from:
		return r.Tip(ctx, 0)
	case !ok:
		return nil, nil
	}
	return r.Identify(ctx, at.FileInfo)
}

// Raw returns the level 0 file of a TXID, nil if there is none.
func (r *Replica) Raw(ctx context.Context, txid format.TXID) (*Tip, error) {
	layout := format.Layout(r.layout.Load())
	for f, err := range r.list(ctx, layout, layout.Key(format.LevelRaw, txid, txid), "") {
		if err != nil {
			return nil, err
		}
		return r.Identify(ctx, f.FileInfo)
	}
	return nil, nil
}

// Follows reports whether the replica's newest files may follow a level 0 file with that
// checksum, and not another file of its TXID. Retention may have removed that file.
func (r *Replica) Follows(ctx context.Context, txid format.TXID, checksum format.Checksum) (bool, error) {
	tip, err := r.Raw(ctx, txid)
	if tip == nil || err != nil {
		return err == nil, err
	}
	return tip.Checksum == checksum, nil
}

// Exists reports whether a file exists, with one small request. The caller need not know
// its size.
func (r *Replica) Exists(ctx context.Context, f format.FileInfo) (bool, error) {
	body, _, err := r.store.Open(ctx, r.Key(f), 0, 1)
	if errors.Is(err, storage.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	return true, body.Close()
}

// Decode reads a whole file, calls fn for each page, as [format.Decode] does, and
// verifies everything that the file alone, its key and its size can prove. It returns
// fn's error unchanged.
func (r *Replica) Decode(ctx context.Context, f format.FileInfo, fn func(h format.LTXHeader, pgno uint32, page []byte) error) (format.LTXHeader, format.LTXTrailer, error) {
	body := &counter{Reader: r.Reader(ctx, f, 0, f.Size)}
	defer body.Reader.(io.Closer).Close()
	var own error
	h, t, err := format.Decode(body, func(h format.LTXHeader, pgno uint32, page []byte) error {
		if fn != nil {
			own = fn(h, pgno, page)
		}
		return own
	})
	switch {
	case own != nil:
		return h, t, own
	case err == nil && body.n != f.Size:
		err = fmt.Errorf("%w: it has %d bytes, its listing says %d", format.ErrCorrupt, body.n, f.Size)
	case err == nil:
		err = Match(h, f)
	}
	return h, t, r.FileError(f, err)
}

type counter struct {
	io.Reader
	n int64
}

func (c *counter) Read(p []byte) (int, error) {
	n, err := c.Reader.Read(p)
	c.n += int64(n)
	return n, err
}
