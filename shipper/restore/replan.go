package restore

import (
	"context"
	"errors"
	"fmt"

	"github.com/walvfs/walvfs/format"
	"github.com/walvfs/walvfs/shipper/replica"
)

// maxPlans is how many plans are tried when retention removes files. It removes a file at
// most once an interval of its level, so more than one removal during a restore is already
// rare.
const maxPlans = 5

// applyPlans applies a plan, and another plan to the same TXID if retention removed a
// file of the first, or if a file is damaged. Each plan starts over: files are applied
// from the newest, and retention removes the small, new files during a restore, minutes
// after their compaction. A snapshot stays for a day. So little work is lost. No plan
// uses a file known to be damaged.
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

// replan makes another plan to the same TXID, or to a newer TXID if the caller requested
// the newest and its file was compacted. It avoids a listed file that cannot be opened
// like a damaged one.
func replan(ctx context.Context, from *replica.Replica, p replica.Plan, gone *replica.Missing, damaged []format.FileInfo, opts Options) (next replica.Plan, err error) {
	files, err := from.Files(ctx)
	switch {
	case errors.Is(err, ErrNoReplica):
		// It was a replica a moment ago: a caller must not conclude that there is none, and
		// start with an empty database.
		err = errors.New("the LTX files are gone")
	case err == nil && files.Has(gone.File):
		if next, err = files.Without(append(damaged, gone.File)...).Plan(p.TXID()); err != nil {
			return next, gone // it exists, but cannot be opened
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
