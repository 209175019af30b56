package vfs

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"time"

	"github.com/ncruces/go-sqlite3/vfs"

	"github.com/walvfs/walvfs/format"
	"github.com/walvfs/walvfs/shipper"
)

// A cut is the content of a set of pages at a boundary, read in a transaction of
// its own. While it lasts, checkpoints stop at its read mark, so
// that neither the frames up to the boundary nor the pages without one change.
// The one exception is a read mark of 0, everything being checkpointed: it stops
// checkpoints altogether, but not a reset. Then all content is in the database
// file, which stays still.
type cut struct {
	db       *database
	mark     *readMark
	at       format.WALIndex
	info     shipper.CutInfo
	checksum bool              // pages carry a checksum that WAL frames do not have yet
	walGone  bool              // the WAL was reset since the boundary
	readMain bool              // some page came from the database file
	salt     format.Salt       // as it is in the WAL now
	newest   map[uint32]uint32 // page to frame, of those up to the boundary
}

var _ shipper.Cut = (*cut)(nil)

// Cut implements [shipper.Source].
func (d *database) Cut(ctx context.Context, anyway bool) (shipper.Cut, error) {
	d.capture.awaitAnew(ctx)
	d.connMu.Lock()
	defer d.connMu.Unlock()
	k, err := d.beginCut(anyway)
	if k == nil || err != nil {
		d.recheck()
		d.capture.tell()
		return nil, err
	}
	return k, nil
}

func (d *database) beginCut(anyway bool) (*cut, error) {
	if !anyway && d.unmoved() {
		return nil, nil
	}
	if ok, err := d.connectWAL(); !ok || err != nil {
		return nil, err
	}
	mark, err := d.takeMark()
	if err != nil {
		return nil, err
	}
	if err := mark.begin(); err != nil {
		return nil, errors.Join(err, d.putMark(mark))
	}
	k, err := d.cutAtBoundary(anyway)
	for try := 0; errors.Is(err, errMoved) && try < 10; try++ {
		k, err = d.cutAtBoundary(anyway)
	}
	if k == nil || err != nil {
		return nil, errors.Join(err, d.putMark(mark))
	}
	k.mark = mark
	return k, nil
}

// unmoved reports, at the cost of one small read, that nothing was committed
// since the last cut.
func (d *database) unmoved() bool {
	if d.claim.Load() || d.shm == nil || !d.inWAL.Load() || !d.capture.clean() {
		return false
	}
	at, err := boundary(d.shm)
	return err == nil && at == d.lastCut
}

// recheckFor is how long a commit frame without a success is watched. Its
// transaction may have failed, may still be syncing, or may be the first of two
// files whose second one failed: that one is committed, and nobody says so.
const recheckFor = 10 * time.Second

// recheck looks again later while a commit frame is unsettled.
func (d *database) recheck() {
	if d.unsettled.Load() == 0 {
		return
	}
	if wait := 5 * time.Millisecond << (d.rechecks.Add(1) - 1); wait < recheckFor {
		time.AfterFunc(wait, d.wake)
	}
}

func (d *database) cutAtBoundary(anyway bool) (*cut, error) {
	published, err := boundary(d.shm)
	if err != nil {
		return nil, err
	}
	at, err := d.complete(published)
	if err != nil {
		return nil, err
	}
	d.capture.setPageSize(at.PageSize, d.theirPageSize)
	from := d.lastCut
	if err := d.capture.advance(d.wal, at, &d.frames); err != nil {
		return nil, err
	}
	d.lastCut = published
	k := &cut{db: d, at: at, newest: d.frames.newest}
	if anyway {
		k.newest = maps.Clone(k.newest) // it may be read beside the next cut
	}
	k.info = shipper.CutInfo{
		PageSize:  at.PageSize,
		Commit:    at.NPage,
		Pages:     d.capture.take(at.NPage).set(at.PageSize, at.NPage),
		WALOffset: format.WALHeaderSize,
		Rebase:    d.rebase || d.theirPageSize != 0 && d.theirPageSize != at.PageSize,
	}
	if at.MxFrame > 0 {
		k.info.Salt = at.Salt
		first := uint32(1)
		if from.Salt == at.Salt && from.MxFrame < at.MxFrame {
			first = from.MxFrame + 1
		}
		k.info.WALOffset = format.FrameOffset(at.PageSize, first)
		k.info.WALSize = format.FrameOffset(at.PageSize, at.MxFrame+1) - k.info.WALOffset
	}
	k.info.Same = k.info.Pages.IsEmpty() && !d.claim.Load()
	if k.info.Same && !anyway {
		d.capture.drop()
		return nil, nil
	}
	if k.checksum, err = k.hasChecksums(); err != nil {
		k.Abandon()
		return nil, err
	}
	k.readMain = false // page 1 may not be in the cut
	return k, nil
}

// complete reads from the database file what the index of a WAL that was never
// written does not say. There, the file is the database.
func (d *database) complete(at format.WALIndex) (format.WALIndex, error) {
	if at.MxFrame > 0 {
		return at, nil
	}
	var header [100]byte
	if _, err := d.main.ReadAt(header[:], 0); err != nil {
		return at, err
	}
	at.PageSize = pageSizeOf(header[:])
	if at.PageSize < 512 || at.PageSize&(at.PageSize-1) != 0 {
		return at, fmt.Errorf("the database header has page size %d", at.PageSize)
	}
	size, err := d.main.Size()
	if err != nil {
		return at, err
	}
	if at.NPage == 0 {
		at.NPage = uint32(size / int64(at.PageSize))
	}
	return at, nil
}

// pageSizeOf reads the page size from a database header.
//
// https://sqlite.org/fileformat2.html#page_size
func pageSizeOf(header []byte) uint32 {
	n := uint32(header[16])<<8 | uint32(header[17])
	if n == 1 {
		return 65536
	}
	return n
}

// Info implements [shipper.Cut].
func (k *cut) Info() shipper.CutInfo { return k.info }

// ReadPages implements [shipper.Cut].
func (k *cut) ReadPages(first uint32, p []byte) error {
	for size := int(k.at.PageSize); len(p) > 0; {
		n, err := k.readSome(first, p)
		if err != nil {
			return err
		}
		first += uint32(n)
		p = p[n*size:]
	}
	return nil
}

// readSome reads a page from its frame, or at once all that come before the next one
// with a frame. It returns how many pages these are.
func (k *cut) readSome(first uint32, p []byte) (n int, err error) {
	size := int(k.at.PageSize)
	if frame := k.frame(first); frame != 0 {
		ok, err := k.readFrame(frame, p[:size])
		if err != nil {
			return 0, fmt.Errorf("page %d, WAL frame %d: %w", first, frame, err)
		}
		if ok {
			if k.checksum {
				fillChecksum(p[:size])
			}
			return 1, nil
		}
		k.walGone = true
	}
	n = 1
	for n*size < len(p) && k.frame(first+uint32(n)) == 0 {
		n++
	}
	return n, k.readFile(first, p[:n*size])
}

// frame returns the newest frame of a page, 0 if it is in the database file.
func (k *cut) frame(pgno uint32) uint32 {
	if k.walGone {
		return 0
	}
	return k.newest[pgno]
}

// readFile reads pages from the database file.
func (k *cut) readFile(first uint32, p []byte) error {
	k.readMain = true
	n, err := k.db.main.ReadAt(p, int64(first-1)*int64(k.at.PageSize))
	if err == io.EOF {
		clear(p[n:]) // beyond the end of the file: pages that were never written
		return nil
	}
	if err != nil {
		return fmt.Errorf("page %d: %w", first+uint32(n/int(k.at.PageSize)), err)
	}
	return nil
}

// readFrame reads the page of a frame. It reports false if the WAL was reset
// meanwhile: the header changes before any frame does, so it is looked at after
// the read.
func (k *cut) readFrame(n uint32, p []byte) (bool, error) {
	_, err := k.db.wal.ReadAt(p, format.FrameOffset(k.at.PageSize, n)+format.FrameHeaderSize)
	if err != nil && err != io.EOF {
		return false, err
	}
	k.salt = format.Salt{}
	if _, serr := k.db.wal.ReadAt(k.salt[:], 16); serr != nil && serr != io.EOF {
		return false, serr
	}
	return err == nil && k.salt == k.at.Salt, nil
}

// Sync implements [shipper.Cut]. The cut may be closed, and the WAL have been reset
// since: then what was in its frames is in the database file.
func (k *cut) Sync() error {
	if err := k.db.wal.Sync(vfs.SYNC_NORMAL); err != nil {
		return err
	}
	if !k.readMain {
		salt, _, err := walSalt(k.db.wal)
		if err != nil || salt == k.at.Salt {
			return err
		}
	}
	return k.db.main.Sync(vfs.SYNC_NORMAL)
}

// Close implements [shipper.Cut].
func (k *cut) Close() error {
	k.db.capture.tell()
	k.db.connMu.Lock()
	defer k.db.connMu.Unlock()
	return k.db.putMark(k.mark)
}

// Intend implements [shipper.Cut].
func (k *cut) Intend(pos shipper.Position) error {
	k.db.memory.intend(pos, k.info.Rebase)
	return nil
}

// Acknowledge implements [shipper.Cut].
func (k *cut) Acknowledge(pos shipper.Position) {
	d := k.db
	d.theirPageSize, d.rebase = k.info.PageSize, false
	restored := d.memory.Restored
	d.claim.Store(false)
	d.memory.Restored = false
	d.unproven = nil
	d.capture.settle(d.memory.acknowledge(pos), k.at)
	if restored {
		d.memory.save() // the file says so in its first line
	}
}

// Abandon implements [shipper.Cut].
func (k *cut) Abandon() { k.db.capture.giveBack() }
