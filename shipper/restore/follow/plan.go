package follow

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/walvfs/walvfs/format"
	"github.com/walvfs/walvfs/shipper/replica"
	"github.com/walvfs/walvfs/shipper/restore"
)

// replan lists all levels. The plan is empty if there is nothing to do. Whole is true if
// the plan does not continue the copy, but begins with a snapshot. The plan avoids files
// known to be damaged.
func (f *follower) replan(ctx context.Context) (p replica.Plan, whole bool, err error) {
	listed, err := f.from.Files(ctx)
	if errors.Is(err, restore.ErrNoReplica) {
		err = &restore.Error{Op: "list", Name: f.from.String(), Err: errors.New("the LTX files are gone"), Hint: "the copy stays as it is"}
	}
	if err != nil {
		return p, false, err
	}
	at := &f.state.At
	same, err := f.sameHistory(ctx, listed)
	if err != nil {
		return p, false, err
	}
	newest := listed.Newest()
	if same && newest <= at.TXID {
		// The replica keeps the newest snapshot longest.
		at.File, at.Anchor, err = f.identify(ctx, listed, *at)
		return p, false, err
	}
	if newest > at.TXID {
		f.see(newest, time.Now())
	}
	if !same {
		f.opts.Logger.Warn("no file of the replica matches the copy; starting from a snapshot", "copy", f.path, "txid", at.TXID, "newest", newest)
		f.tip = newest
		f.bad = nil
		if p, err = listed.Plan(0); err != nil {
			err = f.from.PlanError(err)
		}
		return p, true, err
	}
	return f.goOn(f.unharmed(listed), newest)
}

// goOn plans from the copy, and from a snapshot only if that leads farther.
func (f *follower) goOn(listed replica.Files, newest format.TXID) (p replica.Plan, whole bool, err error) {
	at := f.state.At.TXID
	onward := replica.Plan{Apply: planFrom(listed, at), Listed: listed}
	reached := at
	if len(onward.Apply) > 0 {
		reached = onward.TXID()
	}
	if reached == newest {
		return onward, false, nil
	}
	p, err = listed.Plan(0)
	switch {
	case err == nil && p.TXID() > reached:
		return p, true, nil
	case len(onward.Apply) > 0:
		return onward, false, nil // as far as possible
	case len(f.bad) == 0:
		return p, false, f.from.PlanError(err)
	}
	last := f.bad[len(f.bad)-1]
	return p, false, &restore.Error{
		Op:   "apply",
		Name: last.Name,
		Err:  fmt.Errorf("%w; no other file leads to TXID %s", last.Err, newest),
		Hint: "the copy stays at TXID " + at.String() + " until a file of another level or a snapshot leads past it",
	}
}

// unharmed returns the files that are not known to be damaged, and forgets damaged files
// that are gone.
func (f *follower) unharmed(listed replica.Files) replica.Files {
	f.bad = slices.DeleteFunc(f.bad, func(d *replica.Damaged) bool { return !listed.Has(d.File) })
	for _, d := range f.bad {
		listed = listed.Without(d.File)
	}
	return listed
}

// isBad reports whether a file is known to be damaged.
func (f *follower) isBad(info format.FileInfo) bool {
	return slices.ContainsFunc(f.bad, func(d *replica.Damaged) bool { return d.File == info })
}

// planFrom chooses the files that lead from a TXID to the newest TXID that follows. It
// excludes whole databases, so as not to download the copy again.
func planFrom(listed replica.Files, txid format.TXID) []format.FileInfo {
	changes := slices.DeleteFunc(listed.Infos(), func(f format.FileInfo) bool { return f.MinTXID == 1 })
	return format.PlanFrom(changes, txid, 0)
}

// sameHistory reports whether the replica has a file that it had when the copy was made:
// if the replica was deleted and started again, its TXIDs mean something else.
func (f *follower) sameHistory(ctx context.Context, listed replica.Files) (same bool, err error) {
	for _, k := range []knownFile{f.state.At.File, f.state.At.Anchor} {
		if k.Max == 0 || !listed.Has(k.info()) {
			continue
		}
		now, e := f.know(ctx, k.info())
		if _, gone := errors.AsType[*replica.Missing](e); gone {
			continue
		}
		if _, bad := errors.AsType[*replica.Damaged](e); bad {
			err = e // the other file may prove it
			continue
		}
		return e == nil && now == k, e
	}
	return false, err
}

// identify returns the files that prove the replica's history at a position: the newest
// file that ends at its TXID, and the newest snapshot before it. The position keeps its
// files, if the replica has no others or they cannot be read.
func (f *follower) identify(ctx context.Context, listed replica.Files, at position) (file, anchor knownFile, err error) {
	var snapshot format.FileInfo
	for _, info := range listed.Infos() {
		if info.Level == format.LevelSnapshot && info.MaxTXID <= at.TXID && info.MaxTXID > snapshot.MaxTXID {
			snapshot = info
		}
	}
	last, _ := listed.At(at.TXID)
	if file, err = f.update(ctx, at.File, last.FileInfo); err != nil {
		return file, at.Anchor, err
	}
	anchor, err = f.update(ctx, at.Anchor, snapshot)
	return file, anchor, err
}

// update reads a file's checksum unless it is known. A damaged file proves nothing.
func (f *follower) update(ctx context.Context, file knownFile, info format.FileInfo) (knownFile, error) {
	if info.MaxTXID == 0 || info == file.info() {
		return file, nil
	}
	now, err := f.know(ctx, info)
	if _, bad := errors.AsType[*replica.Damaged](err); bad {
		return file, nil
	}
	if err != nil {
		return file, err
	}
	return now, nil
}

// know reads a file's checksum.
func (f *follower) know(ctx context.Context, info format.FileInfo) (knownFile, error) {
	t, err := f.from.Trailer(ctx, info)
	if err != nil {
		return knownFile{}, err
	}
	return known(info, t.FileChecksum), nil
}
