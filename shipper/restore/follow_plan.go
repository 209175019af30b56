package restore

import (
	"context"
	"errors"
	"io"
	"slices"
	"time"

	"github.com/walvfs/walvfs/format"
)

// replan lists all levels. The plan is empty if there is nothing to do, and whole if
// it does not go on from the copy, but begins with a snapshot.
func (f *follower) replan(ctx context.Context) (p plan, whole bool, err error) {
	if p.listed, err = ListFiles(ctx, f.store); err != nil {
		return p, false, err
	}
	if len(p.listed) == 0 {
		return p, false, &Error{Op: "list", Name: f.store.String(), Err: errors.New("there are no LTX files any more"), Hint: "the copy stays as it is"}
	}
	at := &f.state.At
	same, err := f.sameHistory(ctx, p.listed)
	if err != nil {
		return p, false, err
	}
	var newest format.TXID
	for _, info := range p.listed {
		newest = max(newest, info.MaxTXID)
	}
	if same && newest <= at.TXID {
		// The newest snapshot will be there longest.
		at.File, at.Anchor, err = f.identify(ctx, p.listed, at.TXID, at.Anchor)
		return p, false, err
	}
	if newest > at.TXID {
		f.see(newest, time.Now())
	}
	if !same {
		f.opts.Logger.Warn("the replica has no file that the copy is known to come from: starting from its snapshot", "copy", f.path, "txid", at.TXID, "newest", newest)
		f.tip = newest
	} else if p.files = planFrom(p.listed, at.TXID); len(p.files) > 0 && p.txid() == newest && !f.anew {
		return p, false, nil
	}
	onward := p.files
	f.anew = false
	if p.files, err = format.Plan(p.listed, 0); err == nil {
		return p, true, nil
	}
	if p.files = onward; len(onward) == 0 {
		return p, false, planError(f.store, err)
	}
	return p, false, nil // as far as it goes
}

// planFrom chooses the files that lead from a TXID to the newest that follows, as
// [format.Plan] does from a snapshot. None of them is a whole database: the copy is
// not to be downloaded again.
func planFrom(listed []format.FileInfo, txid format.TXID) (files []format.FileInfo) {
	for {
		var next format.FileInfo
		for _, f := range listed {
			if f.MinTXID > 1 && f.MinTXID <= txid+1 && f.MaxTXID > txid && (f.MaxTXID > next.MaxTXID || f.MaxTXID == next.MaxTXID && f.MinTXID > next.MinTXID) {
				next = f
			}
		}
		if next.MaxTXID == 0 {
			return files
		}
		files, txid = append(files, next), next.MaxTXID
	}
}

// sameHistory reports whether the replica has a file that it had when the copy was
// made: if it was emptied and written anew, its TXIDs mean something else.
func (f *follower) sameHistory(ctx context.Context, listed []format.FileInfo) (bool, error) {
	for _, k := range []knownFile{f.state.At.File, f.state.At.Anchor} {
		if k.Max == 0 || !slices.Contains(listed, k.info()) {
			continue
		}
		now, err := f.know(ctx, k.info())
		if _, gone := goneKey(err); gone {
			continue
		}
		return err == nil && now == k, err
	}
	return false, nil
}

// identify finds what tells the replica's history at a TXID, where it is not known.
func (f *follower) identify(ctx context.Context, listed []format.FileInfo, txid format.TXID, anchor knownFile) (file, _ knownFile, err error) {
	var tip, snapshot format.FileInfo
	for _, info := range listed {
		if info.MaxTXID == txid && (tip.MaxTXID == 0 || info.Level < tip.Level) {
			tip = info
		}
		if info.Level == format.LevelSnapshot && info.MaxTXID <= txid && info.MaxTXID > snapshot.MaxTXID {
			snapshot = info
		}
	}
	if tip == f.state.At.File.info() {
		file = f.state.At.File
	} else if tip.MaxTXID != 0 {
		if file, err = f.know(ctx, tip); err != nil {
			return file, anchor, err
		}
	}
	if snapshot.MaxTXID != 0 && snapshot != anchor.info() {
		anchor, err = f.know(ctx, snapshot)
	}
	return file, anchor, err
}

// know reads a file's checksum.
func (f *follower) know(ctx context.Context, info format.FileInfo) (knownFile, error) {
	n := min(info.Size, format.LTXTrailerSize)
	r := newResumer(ctx, f.store, info, f.opts.Logger).within(info.Size-n, n)
	defer r.Close()
	b, err := io.ReadAll(r)
	if err != nil {
		return knownFile{}, objectError("read", f.store, info, err)
	}
	trailer, err := format.ParseLTXTrailer(b)
	if err != nil {
		return knownFile{}, objectError("verify", f.store, info, err)
	}
	return known(info, trailer.FileChecksum), nil
}
