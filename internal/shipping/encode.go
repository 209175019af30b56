package shipping

import (
	"context"
	"time"

	"github.com/RoaringBitmap/roaring/v2"

	"github.com/walvfs/walvfs/format"
	"github.com/walvfs/walvfs/shipper"
)

// encodeRaw writes a cut as the level 0 file of its TXID. It calls end when it has read
// the cut. It starts to sync the pages that it read, and to write the intent to upload
// the file, and does not wait: the upload does.
func (s *Shipper) encodeRaw(up *upload, end func() error) (err error) {
	began := time.Now()
	up.Checksum, err = s.encode(up.cut, up.body, s.rawHeader(up), up.info.Pages, func() error {
		defer up.disk.Go(up.cut.Sync())
		return end()
	})
	if err != nil {
		return err
	}
	up.disk.Go(func() error { return up.cut.Intend(up.Position) })
	s.emit(shipper.Encoded{Pages: up.info.Pages.GetCardinality(), Bytes: up.body.size, Took: time.Since(began)})
	return up.readHeader()
}

func (s *Shipper) rawHeader(up *upload) format.LTXHeader {
	info := up.info
	return format.LTXHeader{
		PageSize:  info.PageSize,
		Commit:    info.Commit,
		MinTXID:   up.TXID,
		MaxTXID:   up.TXID,
		Timestamp: up.Time.UnixMilli(),
		WALOffset: info.WALOffset,
		WALSize:   info.WALSize,
		WALSalt1:  info.Salt.Salt1(),
		WALSalt2:  info.Salt.Salt2(),
		NodeID:    s.opts.NodeID,
	}
}

func (s *Shipper) levelHeader(info CutInfo, f *levelFile) format.LTXHeader {
	return format.LTXHeader{
		PageSize:  info.PageSize,
		Commit:    info.Commit,
		MinTXID:   f.min,
		MaxTXID:   f.max,
		Timestamp: f.time.UnixMilli(),
		NodeID:    s.opts.NodeID,
	}
}

// encode writes pages of a cut as one file. It calls read when it has read all of them.
func (s *Shipper) encode(cut Cut, w *spool, h format.LTXHeader, pages *roaring.Bitmap, read func() error) (format.Checksum, error) {
	enc, err := format.NewEncoder(w, h)
	if err != nil {
		return 0, err
	}
	defer enc.Abort()
	ahead := newReadAhead(cut, h.PageSize, pages)
	defer ahead.free()
	for more := true; more; ahead.free() {
		if more, err = ahead.fill(s.ctx); err == nil && !more {
			err = read()
		}
		if err != nil {
			return 0, err
		}
		for pgno, page := range ahead.pages() {
			if s.ctx.Err() != nil {
				return 0, context.Cause(s.ctx)
			}
			if err := enc.Page(pgno, page); err != nil {
				return 0, err
			}
		}
	}
	return enc.Close()
}

// readHeader reads the header back, as the encoder wrote it.
func (up *upload) readHeader() (err error) {
	b := make([]byte, format.LTXHeaderSize)
	if _, err = up.body.ReadAt(b, 0); err == nil {
		up.header, err = format.ParseLTXHeader(b)
	}
	return err
}
