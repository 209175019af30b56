package vfs

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"

	"github.com/walvfs/walvfs/format"
	"github.com/walvfs/walvfs/shipper"
	"github.com/walvfs/walvfs/shipper/restore"
	"github.com/walvfs/walvfs/shipper/sidecar"
)

// errNotPast: the database, as it was opened, does not go on from the replica.
var errNotPast = errors.New("this database, which wrote it, does not hold it any more, or has changed too much since it was opened to tell")

// requirePast compares the replica's newest file with this database as it was when
// it was opened, page by page. It fails with [shipper.ErrDiverged] unless the
// database held exactly that: at its last commit, or at the one that the file names,
// if its WAL is still the same.
//
// It takes a download of the whole replica, and as much space beside the database.
// Without a sidecar, nothing less proves that what the replica holds is not newer.
func (d *database) requirePast(ctx context.Context, tip *shipper.Tip) error {
	d.capture.log.Warn("what is on this disk does not tell whether it goes on from the replica: that is downloaded and compared", "tip", tip.MaxTXID)
	err := d.mayBePast(tip)
	var copied *os.File
	if err == nil && time.Now().Before(d.full.until) {
		return d.full.err // there is no room yet, and it was a long download
	}
	if err == nil {
		copied, err = d.download(ctx, tip.MaxTXID)
	}
	if errors.Is(err, syscall.ENOSPC) {
		d.full.err, d.full.until = err, time.Now().Add(fullPause)
	}
	if err == nil {
		err = d.compare(ctx, tip, copied)
		err = errors.Join(err, copied.Close())
	}
	if errors.Is(err, errNotPast) || errors.Is(err, format.ErrCorrupt) {
		return fmt.Errorf("%w: its newest file is TXID %s of %s: %w; restore the replica to go on from it, use another replica URL, or set diverged=overwrite to go on with this database's content",
			shipper.ErrDiverged, tip.MaxTXID, tip.Time.UTC().Format(time.RFC3339), err)
	}
	return err
}

// fullPause is how long a comparison waits that found no room on the disk.
const fullPause = 10 * time.Minute

// mayBePast fails with errNotPast where a download would tell nothing new.
func (d *database) mayBePast(tip *shipper.Tip) error {
	if frames, ok := cutFrames(tip.Header, d.found.wal); d.found.err != nil || ok && frames > int64(d.found.last) {
		return errNotPast
	}
	if d.found.last == 0 && d.found.size != int64(tip.Header.Commit)*int64(tip.Header.PageSize) {
		return errNotPast
	}
	return nil
}

const comparedSuffix = "-walvfs-compare"

// removeCompared removes what a crash may have left of a comparison.
func removeCompared(path string) {
	os.Remove(path + comparedSuffix)
	os.Remove(path + comparedSuffix + sidecar.Suffix)
	os.Remove(path + comparedSuffix + "-walvfs-restore")
}

// download restores a TXID to a file without a name.
func (d *database) download(ctx context.Context, txid format.TXID) (*os.File, error) {
	name := d.path + comparedSuffix
	defer removeCompared(d.path)
	// As secret as the database is.
	if f, err := os.OpenFile(name+"-walvfs-restore", os.O_CREATE|os.O_WRONLY, 0o600); err == nil {
		f.Close()
	}
	if _, err := restore.Restore(ctx, d.store, name, restore.Options{TXID: txid, Force: true, Logger: d.capture.log}); err != nil {
		return nil, err
	}
	return os.Open(name)
}

// compare fails with errNotPast unless the database held what the copy holds.
func (d *database) compare(ctx context.Context, tip *shipper.Tip, copied *os.File) error {
	d.connMu.Lock()
	defer d.connMu.Unlock()
	if ok, err := d.connectWAL(); !ok || err != nil {
		return errors.Join(err, errNotPast)
	}
	mark, err := d.takeMark()
	if err != nil {
		return err
	}
	defer d.putMark(mark)
	if err := mark.begin(); err != nil {
		return err
	}
	p, err := d.pastOf(tip)
	if err != nil {
		return err
	}
	if p.pages != tip.Header.Commit || p.cut.at.PageSize != tip.Header.PageSize {
		return errNotPast
	}
	theirs, ours := make([]byte, tip.Header.PageSize), make([]byte, tip.Header.PageSize)
	for pgno := uint32(1); pgno <= p.pages; pgno++ {
		if pgno == format.LockPage(tip.Header.PageSize) {
			continue
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if _, err := copied.ReadAt(theirs, int64(pgno-1)*int64(len(theirs))); err != nil {
			return err
		}
		if err := p.read(pgno, ours); err != nil {
			return err
		}
		if !bytes.Equal(ours, theirs) {
			return errNotPast
		}
	}
	return nil
}

// A past is the database as it was at a frame of the WAL that it was opened with.
// What was committed since is in later frames. A page that has only such ones is as
// it was in the database file, until a checkpoint.
type past struct {
	cut   cut
	pages uint32            // size of the database
	later map[uint32]uint32 // page to its first frame after
}

// pastOf finds the boundary in the past that the tip was cut at, or may have been.
// It needs a read mark.
func (d *database) pastOf(tip *shipper.Tip) (*past, error) {
	published, err := boundary(d.shm)
	if err != nil {
		return nil, err
	}
	at, err := d.complete(published)
	if err != nil {
		return nil, err
	}
	found := d.found
	if found.err != nil || !d.sameWAL(at) {
		return nil, errNotPast
	}
	until := found.last
	if frames, ok := cutFrames(tip.Header, found.wal); ok {
		if frames > int64(until) {
			return nil, errNotPast // what it was cut from is not all here
		}
		until = uint32(frames)
	}
	p := &past{
		cut:   cut{db: d, at: at, newest: map[uint32]uint32{}},
		pages: uint32(found.size / int64(at.PageSize)),
		later: map[uint32]uint32{},
	}
	if err := p.scan(until); err != nil {
		return nil, err
	}
	p.cut.checksum, err = p.cut.hasChecksums()
	return p, err
}

// sameWAL reports whether the WAL is the one that the database was opened with, or
// the first one since if there was none.
func (d *database) sameWAL(at format.WALIndex) bool {
	if !d.found.wal.Salt.IsZero() {
		return at.MxFrame > 0 && at.Salt == d.found.wal.Salt
	}
	c := d.capture
	c.mu.Lock()
	defer c.mu.Unlock()
	if at.MxFrame == 0 {
		return at.Salt.IsZero() && c.resets <= 1 // a first transaction may have begun
	}
	return c.resets == 1 && at.Salt == c.epoch
}

// scan finds the frames of each page up to a frame, and after it.
func (p *past) scan(until uint32) error {
	at := p.cut.at
	var b [format.FrameHeaderSize]byte
	for n := uint32(1); n <= at.MxFrame; n++ {
		if _, err := p.cut.db.wal.ReadAt(b[:], format.FrameOffset(at.PageSize, n)); err != nil {
			return fmt.Errorf("WAL frame %d: %w", n, err)
		}
		f := format.ParseFrame(b[:])
		switch {
		case f.Salt != at.Salt:
			return errNotPast
		case n <= until:
			p.cut.newest[f.Page], p.pages = n, f.Commit
		case p.later[f.Page] == 0:
			p.later[f.Page] = n
		}
	}
	return nil
}

// read reads a page as it was.
func (p *past) read(pgno uint32, b []byte) error {
	if err := p.cut.ReadPages(pgno, b); err != nil {
		return err
	}
	if p.cut.walGone {
		return errNotPast
	}
	if first := p.later[pgno]; first != 0 && p.cut.newest[pgno] == 0 {
		// A checkpoint tells how far it goes before it writes to the file.
		done, err := backfillAttempted(p.cut.db.shm)
		if err != nil {
			return err
		}
		if first <= done {
			return errNotPast
		}
	}
	return nil
}

// backfillAttempted reads the number of frames that checkpoints have copied, or
// begun to copy, to the database file.
//
// https://sqlite.org/walformat.html#the_walckptinfo_object
func backfillAttempted(shm *os.File) (uint32, error) {
	const offset = 128
	var b [4]byte
	if _, err := shm.ReadAt(b[:], offset); err != nil {
		return 0, fmt.Errorf("WAL index: %w", err)
	}
	return binary.NativeEndian.Uint32(b[:]), nil
}
