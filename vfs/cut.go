package vfs

import (
	"context"
	"errors"
	"maps"

	"github.com/RoaringBitmap/roaring/v2"

	"github.com/walvfs/walvfs/format"
	"github.com/walvfs/walvfs/internal/shipping"
	"github.com/walvfs/walvfs/internal/statefile"
	"github.com/walvfs/walvfs/shipper"
	"github.com/walvfs/walvfs/vfs/internal/wal"
)

// A cut is the content of a set of pages at a boundary, read under its own read mark, or
// from a copy.
type cut struct {
	wal.Snapshot
	db   *database
	from format.WALIndex // the boundary of the previous cut
	mark *wal.Mark       // nil once the copy has all pages
	copy *wal.Copy       // nil if pages are read under the mark
	info shipping.CutInfo
	read *roaring.Bitmap // the pages to read
}

var _ shipping.Cut = (*cut)(nil)

// Cut implements [shipping.Source].
func (d *database) Cut(ctx context.Context, extra *shipping.Extra) (shipping.Cut, error) {
	d.ledger.AwaitCut(ctx)
	k, err := d.cutCopied(ctx, extra)
	if k == nil || err != nil {
		d.recheck()
		d.tell()
		return nil, err
	}
	return k, nil
}

func (d *database) beginCut(extra *shipping.Extra) (k *cut, err error) {
	d.connMu.Lock()
	defer d.connMu.Unlock()
	if extra == nil && d.unmoved() {
		return nil, nil
	}
	mark, err := d.underMark(func() (err error) {
		k, err = d.cutAtBoundary(extra)
		return err
	})
	if mark == nil || err != nil {
		return nil, err
	}
	if k == nil {
		return nil, d.putMark(mark)
	}
	k.mark = mark
	return k, nil
}

// underMark locks a read mark and calls begin, which finds a boundary under it. It calls
// begin again if the WAL was reset meanwhile. It returns nil if the database is still
// empty. It needs d.connMu.
func (d *database) underMark(begin func() error) (*wal.Mark, error) {
	if ok, err := d.connectWAL(); !ok || err != nil {
		return nil, err
	}
	mark, err := d.takeMark()
	if err != nil {
		return nil, err
	}
	if err = mark.Begin(); err == nil {
		err = begin()
	}
	for try := 0; errors.Is(err, wal.ErrMoved) && try < 10; try++ {
		err = begin()
	}
	if err != nil {
		return nil, errors.Join(err, d.putMark(mark))
	}
	return mark, nil
}

// endMark is putMark for callers without d.connMu.
func (d *database) endMark(mark *wal.Mark) error {
	d.connMu.Lock()
	defer d.connMu.Unlock()
	return d.putMark(mark)
}

// unmoved reports, at the cost of one small read, that there was no commit since the last
// cut.
func (d *database) unmoved() bool {
	if d.claim.Load() || d.shm == nil || !d.inWAL.Load() || !d.ledger.Clean() {
		return false
	}
	at, err := wal.Boundary(d.shm)
	return err == nil && at == d.lastCut
}

func (d *database) cutAtBoundary(extra *shipping.Extra) (*cut, error) {
	published, err := wal.Boundary(d.shm)
	if err != nil {
		return nil, err
	}
	at, err := d.complete(published)
	if err != nil {
		return nil, err
	}
	d.ledger.SetPageSize(at.PageSize, d.theirPageSize)
	from := d.lastCut
	if err := d.ledger.Scan(d.wal, at, &d.frames); err != nil {
		return nil, err
	}
	d.lastCut = published
	k := &cut{db: d, from: from, Snapshot: wal.Snapshot{At: at, Newest: d.frames.Newest, WAL: d.wal, Main: d.main}}
	taken := d.ledger.Take(at.NPage)
	k.info = shipping.CutInfo{
		PageSize:  at.PageSize,
		Commit:    at.NPage,
		Pages:     taken.Pages(at.PageSize, at.NPage),
		Whole:     taken.Whole(),
		WALOffset: format.WALHeaderSize,
		Rebase:    d.rebase || d.theirPageSize != 0 && d.theirPageSize != at.PageSize,
	}
	k.read = k.info.Pages
	if extra != nil {
		k.read = withExtra(k.read, extra.Pages, at)
		k.Newest = maps.Clone(k.Newest) // it may be read during the next cut
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
	if k.info.Same && extra == nil {
		d.ledger.Drop()
		return nil, nil
	}
	if err := k.Begin(); err != nil {
		k.Abandon()
		return nil, err
	}
	return k, nil
}

// undo makes the next cut begin at this cut's beginning.
func (k *cut) undo() error {
	k.Abandon()
	d := k.db
	d.connMu.Lock()
	defer d.connMu.Unlock()
	d.lastCut = k.from
	return d.putMark(k.mark)
}

// Info implements [shipping.Cut].
func (k *cut) Info() shipping.CutInfo { return k.info }

// ReadPages implements [shipping.Cut].
func (k *cut) ReadPages(first uint32, p []byte) error {
	if k.copy != nil {
		return k.copy.ReadPages(first, p)
	}
	return k.Snapshot.ReadPages(first, p)
}

// Sync implements [shipping.Cut]. With synchronous=full, SQLite has synced each commit.
func (k *cut) Sync() func() error { return k.Snapshot.Sync(k.db.synced.Load().isAt(k.At)) }

// Close implements [shipping.Cut].
func (k *cut) Close() error {
	k.db.tell()
	if k.copy != nil {
		return k.copy.Close()
	}
	return k.db.endMark(k.mark)
}

// Intend implements [shipping.Cut].
func (k *cut) Intend(pos shipper.Position) error {
	k.db.ledger.Intend(statefile.Mark{TXID: pos.TXID, Checksum: pos.Checksum, Rebase: k.info.Rebase}, k.At)
	k.db.tell()
	return nil
}

// Acknowledge implements [shipping.Cut].
func (k *cut) Acknowledge(pos shipper.Position) {
	d := k.db
	d.theirPageSize, d.rebase = k.info.PageSize, false
	d.claim.Store(false)
	d.evidence.goesOn(false)
	d.ledger.Ack(statefile.Mark{TXID: pos.TXID, Checksum: pos.Checksum}, k.At)
	d.tell()
}

// Abandon implements [shipping.Cut].
func (k *cut) Abandon() { k.db.ledger.Abandon() }
