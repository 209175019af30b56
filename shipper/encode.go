package shipper

import (
	"context"
	"slices"
	"time"

	"github.com/RoaringBitmap/roaring/v2"
	"github.com/superfly/ltx"
	"golang.org/x/sync/errgroup"

	"github.com/walvfs/walvfs/format"
)

// encodeRaw writes a cut as the level 0 file of its TXID, while the disk makes durable
// what was read. It calls end when it has read the cut.
func (s *Shipper) encodeRaw(up *upload, end func() error) (err error) {
	began := time.Now()
	var disk errgroup.Group
	up.Checksum, err = s.encode(up.cut, up.body, s.rawHeader(up), up.info.Pages, func() error {
		defer disk.Go(up.cut.Sync)
		return end()
	})
	if derr := disk.Wait(); err == nil {
		err = derr
	}
	if err != nil {
		return err
	}
	s.emit(Encoded{Pages: up.info.Pages.GetCardinality(), Bytes: up.body.size, Took: time.Since(began)})
	return up.readHeader()
}

// fromCut returns which of the levels that are due are to be made from a cut. Unless
// there are none, an encoder is taken for them.
func (s *Shipper) fromCut(info CutInfo, due []*level) []*level {
	if isLarge(info) { // the levels begin anew
		due = slices.DeleteFunc(due, func(v *level) bool { return v.number != format.LevelSnapshot })
	}
	if len(due) > 0 && !encoders.TryAcquire(1) {
		s.levels.postpone(due, time.Now())
		return nil
	}
	return due
}

// leave gives back the encoder that was taken for levels.
func (s *Shipper) leave(due []*level) {
	if len(due) > 0 {
		encoders.Release(1)
	}
}

// cutLevels makes files of levels from a cut, in the background: its own file does
// not wait for them. It closes the cut, and gives back the encoder that was taken for
// them.
func (s *Shipper) cutLevels(up *upload, due []*level) error {
	if len(due) == 0 {
		return up.endReading()
	}
	if s.ctx.Err() != nil {
		s.leave(due)
		return up.endReading()
	}
	for _, v := range due {
		f := s.levels.take(v, up.TXID, up.Time)
		f.body = s.newSpool()
		up.levels = append(up.levels, f)
	}
	s.tenders.Go(func() {
		s.encodeLevels(up)
		s.schedule()
	})
	return nil
}

// encodeLevels writes files of levels, and has them uploaded once the file is there
// whose TXID they end with. One that cannot be made is for later.
func (s *Shipper) encodeLevels(up *upload) {
	errs := make([]error, len(up.levels))
	for i, f := range up.levels {
		read := nothing
		if i == len(up.levels)-1 {
			read = up.endReading
		}
		began, pages := time.Now(), f.pages(up.info)
		f.count = pages.GetCardinality()
		if _, errs[i] = s.encode(up.cut, f.body, s.levelHeader(up.info, f), pages, read); errs[i] == nil {
			s.emit(Encoded{Level: f.level.number, Pages: f.count, Bytes: f.body.size, Took: time.Since(began)})
		}
	}
	if err := up.endReading(); err != nil {
		s.log.Warn("a cut cannot be closed", "error", err)
	}
	encoders.Release(1)
	acked := <-up.outcome
	for i, f := range up.levels {
		retry := f.level.retry()
		switch {
		case !acked:
			f.body.Close()
		case errs[i] != nil:
			s.levels.giveBack(f, up.info.Pages, time.Now().Add(retry))
			if s.ctx.Err() == nil {
				s.levelsFail(errs[i])
				s.log.Warn("a file of a higher level cannot be made and will be tried again", "ltx_level", f.level.number, "error", errs[i], "retry_in", retry)
			}
		default:
			s.tend([]*levelFile{f})
		}
	}
}

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

// encode writes pages of a cut as one file. It calls read when it has read them.
func (s *Shipper) encode(cut Cut, w *spool, h format.LTXHeader, pages *roaring.Bitmap, read func() error) (ltx.Checksum, error) {
	enc, err := format.NewEncoder(w, h)
	if err != nil {
		return 0, err
	}
	defer enc.Abort()
	enc.SetSpillDir(s.opts.SpoolDir)
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

// readHeader remembers the header as it was written.
func (up *upload) readHeader() (err error) {
	b := make([]byte, format.LTXHeaderSize)
	if _, err = up.body.ReadAt(b, 0); err == nil {
		up.header, err = format.ParseLTXHeader(b)
	}
	return err
}
