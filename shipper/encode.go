package shipper

import (
	"context"
	"errors"
	"time"

	"github.com/RoaringBitmap/roaring/v2"
	"github.com/superfly/ltx"

	"github.com/walvfs/walvfs/format"
)

// encodeAll writes a cut as the level 0 file of its TXID, and as those of the levels
// that are due. One of these that cannot be made is for later.
func (s *Shipper) encodeAll(up *upload, due []*level) (err error) {
	info := up.info
	if !info.Same {
		if up.Checksum, err = s.encode(up, up.body, s.rawHeader(up), info.Pages); err != nil {
			return err
		}
		if err := up.readHeader(); err != nil {
			return err
		}
	}
	for _, v := range due {
		if isLarge(info) && v.number != format.LevelSnapshot {
			continue // it begins anew
		}
		f := s.levels.take(v, up.TXID, up.Time)
		f.body = s.newSpool()
		switch _, err := s.encode(up, f.body, s.levelHeader(up, f), f.pages(info)); {
		case errors.Is(err, errFinishing):
			s.levels.giveBack(f, time.Now().Add(v.retry()))
			continue
		case err != nil:
			s.levels.giveBack(f, time.Now().Add(v.retry()))
			s.log.Warn("a file of a higher level cannot be made and will be tried again", "level", v.number, "error", err, "retry_in", v.retry())
			continue
		}
		up.levels = append(up.levels, f)
	}
	return s.ctx.Err()
}

// errFinishing: the database is being closed, and the level 0 file waits.
var errFinishing = errors.New("the database is being closed")

// pages returns the pages of a file at the boundary of a cut.
func (f *levelFile) pages(info CutInfo) *roaring.Bitmap {
	pages := roaring.New()
	if f.level.number == format.LevelSnapshot {
		pages.AddRange(1, uint64(info.Commit)+1)
	} else {
		pages = roaring.Or(f.taken, info.Pages)
		pages.RemoveRange(uint64(info.Commit)+1, 1<<32)
	}
	pages.Remove(format.LockPage(info.PageSize))
	return pages
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

func (s *Shipper) levelHeader(up *upload, f *levelFile) format.LTXHeader {
	return format.LTXHeader{
		PageSize:  up.info.PageSize,
		Commit:    up.info.Commit,
		MinTXID:   f.min,
		MaxTXID:   f.max,
		Timestamp: up.Time.UnixMilli(),
		NodeID:    s.opts.NodeID,
	}
}

// encode writes pages of a cut as one file.
func (s *Shipper) encode(up *upload, w *spool, h format.LTXHeader, pages *roaring.Bitmap) (ltx.Checksum, error) {
	enc, err := format.NewEncoder(w, h)
	if err != nil {
		return 0, err
	}
	defer enc.Abort()
	enc.SetSpillDir(s.opts.SpoolDir)
	page := make([]byte, h.PageSize)
	for it := pages.Iterator(); it.HasNext(); {
		if s.ctx.Err() != nil {
			return 0, context.Cause(s.ctx)
		}
		if w != up.body && s.finishing.Load() > 0 {
			return 0, errFinishing
		}
		pgno := it.Next()
		if err := up.cut.ReadPage(pgno, page); err != nil {
			return 0, err
		}
		if err := enc.Page(pgno, page); err != nil {
			return 0, err
		}
	}
	return enc.Close()
}

// readHeader remembers the header as it was written.
func (up *upload) readHeader() (err error) {
	b := make([]byte, format.LTXHeaderSize)
	if _, err = up.body.ReadAt(b, 0); err == nil {
		up.header, err = format.ParseLTXHeader(b)
	}
	return err
}
