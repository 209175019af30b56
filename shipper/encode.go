package shipper

import (
	"context"

	"github.com/walvfs/walvfs/format"
)

// encode writes a cut as the level 0 file of its TXID.
func (s *Shipper) encode(up *upload) error {
	info := up.cut.Info()
	enc, err := format.NewEncoder(up.body, format.LTXHeader{
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
	})
	if err != nil {
		return err
	}
	defer enc.Abort()
	enc.SetSpillDir(s.opts.SpoolDir)
	page := make([]byte, info.PageSize)
	for it := info.Pages.Iterator(); it.HasNext(); {
		if s.ctx.Err() != nil {
			return context.Cause(s.ctx)
		}
		pgno := it.Next()
		if err := up.cut.ReadPage(pgno, page); err != nil {
			return err
		}
		if err := enc.Page(pgno, page); err != nil {
			return err
		}
	}
	if up.Checksum, err = enc.Close(); err != nil {
		return err
	}
	return up.readHeader()
}

// readHeader remembers the header as it was written.
func (up *upload) readHeader() (err error) {
	b := make([]byte, format.LTXHeaderSize)
	if _, err = up.body.ReadAt(b, 0); err == nil {
		up.header, err = format.ParseLTXHeader(b)
	}
	return err
}
