package replica

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/walvfs/walvfs/format"
	"github.com/walvfs/walvfs/shipper/storage"
)

// A Plan is the files that lead to one TXID.
type Plan struct {
	Apply  []format.FileInfo // in the order in which to apply them; never empty
	Listed Files             // the files that the plan was chosen from
}

// TXID returns the TXID that the plan leads to.
func (p Plan) TXID() format.TXID { return p.Apply[len(p.Apply)-1].MaxTXID }

// Bytes returns the size of the files to apply.
func (p Plan) Bytes() (n int64) {
	for _, f := range p.Apply {
		n += f.Size
	}
	return n
}

// Plan chooses the files that restore a TXID, 0 for the newest, as [format.Plan] does.
func (f Files) Plan(txid format.TXID) (Plan, error) {
	apply, err := format.Plan(f.Infos(), txid)
	return Plan{apply, f}, err
}

// Without makes another plan to the same TXID that does not use a file, because it is
// damaged or unreadable. It fails as [format.Plan] does if no such plan exists.
func (p Plan) Without(out format.FileInfo) (Plan, error) {
	return p.Listed.Without(out).Plan(p.TXID())
}

// Target is the state to restore. The zero value is the newest TXID.
type Target struct {
	TXID      format.TXID // a TXID at which a file ends
	Timestamp time.Time   // the newest TXID at or before it; excludes TXID
}

// maxPlans is how often Plan tries to make a plan. Retention removes a file at most once
// an interval of its level.
const maxPlans = 5

// Plan lists the replica and chooses the files that lead to a target. For a timestamp it
// also reads headers, as many as [HeadersFor] says. It reads them again if retention
// removes a file meanwhile, and passes over files whose header cannot be right.
func (r *Replica) Plan(ctx context.Context, t Target) (p Plan, err error) {
	if t.TXID != 0 && !t.Timestamp.IsZero() {
		return p, r.PlanError(errors.New("a TXID and a timestamp exclude each other"))
	}
	for range maxPlans {
		p, err = r.planOnce(ctx, t)
		if _, gone := errors.AsType[*Missing](err); !gone {
			break
		}
	}
	return p, err
}

func (r *Replica) planOnce(ctx context.Context, t Target) (p Plan, err error) {
	files, err := r.Files(ctx)
	if err != nil {
		return p, err
	}
	txid := t.TXID
	if !t.Timestamp.IsZero() {
		if txid, err = r.TXIDAt(ctx, files, t.Timestamp); err != nil {
			return p, err
		}
	}
	p, err = files.Plan(txid)
	if err != nil {
		return p, r.PlanError(err)
	}
	return p, nil
}

// TXIDAt finds the newest TXID at or before a time. The time of a file is the time in its
// header: the store's time is when the object was written, which is later for a compacted
// file. TXIDAt passes over a file with a damaged header, as long as the TXID at which it
// ends cannot be the answer. A time after now is an error, unless the replica has a state
// of that time or later.
func (r *Replica) TXIDAt(ctx context.Context, files Files, at time.Time) (format.TXID, error) {
	var bad []format.FileInfo
	var damaged []*Damaged
	for {
		var failed error
		whole := files.Without(bad...)
		infos := whole.Infos()
		known := r.headersFor(ctx, infos, at)
		txid, err := format.TXIDAt(infos, at, func(f format.FileInfo) (time.Time, error) {
			h, ok := known[f]
			if !ok {
				var err error
				if h, err = r.Header(ctx, f); err != nil {
					failed = err
					return time.Time{}, err
				}
			}
			return time.UnixMilli(h.Timestamp), nil
		})
		if e, ok := errors.AsType[*Damaged](failed); ok {
			bad, damaged = append(bad, e.File), append(damaged, e)
			continue
		}
		switch {
		case failed != nil:
			return 0, failed // it names the object
		case err != nil && len(damaged) > 0:
			return 0, damaged[0]
		case err != nil:
			return 0, r.PlanError(err)
		}
		for _, e := range damaged {
			if next := whole.after(txid); e.File.MaxTXID > txid && (next == 0 || e.File.MaxTXID < next) {
				return 0, e
			}
		}
		if at.After(time.Now()) && txid == whole.Newest() {
			return txid, r.come(ctx, whole, txid, at)
		}
		return txid, nil
	}
}

// come returns an error for a time in the future, because the state that it will name is
// not known yet. By the clock that dated the newest state, the time is not in the future
// if that state is of that time or later, even if this machine's clock says otherwise.
func (r *Replica) come(ctx context.Context, files Files, newest format.TXID, at time.Time) error {
	h, err := r.HeaderAt(ctx, files, newest)
	if last := time.UnixMilli(h.Timestamp); err == nil && last.Before(at) {
		e := r.planError(fmt.Errorf("%s is in the future, and the newest state is TXID %s of %s",
			at.UTC().Format(time.RFC3339Nano), newest, last.UTC().Format(time.RFC3339Nano)))
		e.Hint = "leave the time out for the newest state"
		return e
	}
	return err
}

// after returns the next restorable TXID after a TXID, 0 if none.
func (f Files) after(txid format.TXID) format.TXID {
	for _, next := range f.Restorable() {
		if next > txid {
			return next
		}
	}
	return 0
}

// PlanError names the replica in an error of a plan.
func (r *Replica) PlanError(err error) error { return r.planError(err) }

func (r *Replica) planError(err error) *storage.Error {
	return &storage.Error{Op: "plan", URL: r.store.String(), Err: err}
}
