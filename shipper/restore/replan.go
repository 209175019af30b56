package restore

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/walvfs/walvfs/format"
	"github.com/walvfs/walvfs/shipper/sidecar"
	"github.com/walvfs/walvfs/shipper/storage"
)

// maxPlans is how many plans are tried. Retention removes a file at most once an
// interval of its level, so that more than one in a restore is rare already.
const maxPlans = 5

// applyPlans applies a plan, and another one to the same TXID if retention removed
// a file of the first. The second one starts over: files are applied from the newest,
// and it is the small, new ones that go away while a restore runs, minutes after
// they were compacted. A snapshot stays for a day. So little is done when it happens.
func applyPlans(ctx context.Context, store storage.Store, p plan, db *database, opts Options) (r Result, mark *sidecar.Mark, err error) {
	for try := 1; ; try++ {
		if mark, err = markOf(ctx, store, p, opts); err == nil {
			r, err = applyPlan(ctx, store, p, db, opts)
		}
		key, gone := goneKey(err)
		if err == nil || !gone || try == maxPlans {
			return r, mark, err
		}
		next, planErr := replan(ctx, store, p, opts)
		switch {
		case planErr != nil:
			if e, ok := errors.AsType[*Error](planErr); ok {
				planErr = e.Err
			}
			return r, nil, &Error{
				Op:   "plan",
				Name: store.String(),
				Err:  fmt.Errorf("%s was removed while TXID %s was restored, and without it: %w", key, p.txid(), planErr),
				Hint: "if retention removes files faster than they are restored, have it keep them longer",
			}
		case next.lists(store.Layout(), key):
			return r, nil, err // it is there, and cannot be opened
		}
		opts.Logger.Warn("a file was removed while it was restored, planning again", "key", key, "txid", next.txid(), "files", len(next.files))
		p = next
	}
}

// replan makes another plan to the same TXID, or to one that is newer if it is the
// newest that was asked for, and that one was compacted.
func replan(ctx context.Context, store storage.Store, p plan, opts Options) (plan, error) {
	same := opts
	same.TXID, same.Timestamp = p.txid(), time.Time{}
	next, err := makePlan(ctx, store, same)
	if err != nil && opts.TXID == 0 && opts.Timestamp.IsZero() {
		next, err = makePlan(ctx, store, opts)
	}
	if errors.Is(err, ErrNoReplica) {
		// It was one a moment ago: a caller must not take it for none, and begin
		// with an empty database.
		err = errors.New("there are no LTX files any more")
	}
	return next, err
}

// goneKey returns the object that an error says does not exist.
func goneKey(err error) (key string, ok bool) {
	e, ok := errors.AsType[*storage.Error](err)
	if !ok || e.Op != "open" || !errors.Is(e, storage.ErrNotExist) {
		return "", false
	}
	return e.Key, true
}

// lists reports whether the object was there when the plan was made.
func (p plan) lists(l format.Layout, key string) bool {
	f, ok := l.Parse(key)
	for _, g := range p.listed {
		if ok && g.Level == f.Level && g.MinTXID == f.MinTXID && g.MaxTXID == f.MaxTXID {
			return true
		}
	}
	return false
}
