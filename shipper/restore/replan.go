package restore

import (
	"context"
	"errors"
	"fmt"

	"github.com/walvfs/walvfs/format"
	"github.com/walvfs/walvfs/shipper/replica"
)

// maxPlans is how many plans are tried because of files that retention removed. It
// removes a file at most once an interval of its level, so that more than one in a
// restore is rare already.
const maxPlans = 5

// applyPlans applies a plan, and another one to the same TXID if retention removed a
// file of the first, or if one is damaged. Each starts over: files are applied from the
// newest, and it is the small, new ones that go away while a restore runs, minutes after
// they were compacted. A snapshot stays for a day. So little is done when it happens.
// What is known to be damaged is not taken again.
func applyPlans(ctx context.Context, from *replica.Replica, p replica.Plan, db *database, opts Options) (r Result, m marks, err error) {
	var damaged []format.FileInfo
	for removed := 0; ; {
		if m, err = marksOf(ctx, from, p, opts.Rewind); err == nil {
			r, err = applyPlan(ctx, from, p, db, opts)
		}
		if err == nil {
			m.complete(db)
			r.Checksum, r.Newest = m.at.Checksum, m.tip.TXID
			return r, m, nil
		}
		bad, isDamaged := errors.AsType[*replica.Damaged](err)
		gone, isGone := errors.AsType[*replica.Missing](err)
		var next replica.Plan
		switch {
		case isDamaged:
			damaged = append(damaged, bad.File)
			if next, err = p.Without(bad.File); err != nil {
				return r, m, explain(bad, p.Listed.Without(bad.File))
			}
			opts.Logger.Warn("file is damaged, planning without it", "key", from.Key(bad.File), "error", bad.Err, "txid", next.TXID(), "files", len(next.Apply))
		case isGone && removed < maxPlans-1:
			removed++
			if next, err = replan(ctx, from, p, gone, damaged, opts); err != nil {
				return r, m, err
			}
			opts.Logger.Warn("file was removed during the restore, planning again", "key", from.Key(gone.File), "txid", next.TXID(), "files", len(next.Apply))
		default:
			return r, m, err
		}
		p = next
	}
}

// replan makes another plan to the same TXID, or to one that is newer if it is the
// newest that was asked for, and that one was compacted. A file that is listed and cannot
// be opened is passed over as one that is damaged.
func replan(ctx context.Context, from *replica.Replica, p replica.Plan, gone *replica.Missing, damaged []format.FileInfo, opts Options) (next replica.Plan, err error) {
	files, err := from.Files(ctx)
	switch {
	case errors.Is(err, ErrNoReplica):
		// It was one a moment ago: a caller must not take it for none, and begin
		// with an empty database.
		err = errors.New("the LTX files are gone")
	case err == nil && files.Has(gone.File):
		if next, err = files.Without(append(damaged, gone.File)...).Plan(p.TXID()); err != nil {
			return next, gone // it is there, and cannot be opened
		}
	case err == nil:
		files = files.Without(damaged...)
		if next, err = files.Plan(p.TXID()); err != nil && opts.TXID == 0 && opts.Timestamp.IsZero() {
			next, err = files.Plan(0)
		}
	}
	if err != nil {
		return next, &Error{
			Op:   "plan",
			Name: from.String(),
			Err:  fmt.Errorf("%s was removed while TXID %s was restored, and without it: %w", from.Key(gone.File), p.TXID(), err),
			Hint: "if retention removes files faster than they are restored, have it keep them longer",
		}
	}
	return next, nil
}
