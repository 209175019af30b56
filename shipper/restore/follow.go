// # Following
//
// [Follow] restores the newest state, and then keeps that copy up to date while
// others read it through SQLite. Each step takes it from one TXID to another one:
//
//	poll      is there the file that comes next? then one listing, from the copy's own on
//	fetch     the changed pages, once each -> app.db-walvfs-apply
//	lock      as a SQLite writer does: SHARED, RESERVED, EXCLUSIVE
//	commit    app.db-walvfs-apply is renamed to app.db-journal
//	apply     its pages are written to app.db, and synced
//	done      app.db-journal is removed, the locks go
//
// The file of pages is a rollback journal, byte for byte, but for what is in it: not
// the pages as they were, but as they will be. SQLite's recovery writes what a
// journal holds into the database and sets the size that it tells. That is all it
// does, and doing it twice does no harm. So:
//
//   - No reader sees anything between two TXIDs. A copy is in rollback mode, whatever
//     its source is: readers hold SHARED while they read, nothing is written without
//     EXCLUSIVE, and the journal has its name only under that lock. They notice what
//     changed by the change counter in page 1, which every step increments.
//   - No crash leaves anything between two TXIDs. Before the rename is durable, nothing
//     was written. After it, the whole journal is durable, and hot: whoever opens the
//     copy next, SQLite or [Follow], writes it again, to the end.
//   - A change of the page size, a database that shrank and one that comes from a
//     newer snapshot are no special cases: SQLite's recovery knows them from VACUUM.
//
// A transaction of SQLite's own would do the same, but it has no way to write pages by
// number that go-sqlite3 offers, and its backup API writes every page each time. WAL
// mode would let long readers be, for an index to be kept by hand that every reader
// trusts: here, a reader that stays keeps the copy from moving on instead, which is
// said. While it is waited for, new readers are held up at most 5 s: they should have
// a busy_timeout. After a crash in the middle, one that opens the copy with mode=ro
// fails until somebody who may write has opened it.
//
// Beside the copy is app.db-walvfs-follow: which TXID it is at, and what tells that
// it is still what was written. The copy has no sidecar, so that no application takes
// its replica over with it.
package restore

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/walvfs/walvfs/format"
	"github.com/walvfs/walvfs/shipper/sidecar"
	"github.com/walvfs/walvfs/shipper/storage"
)

// ErrWritten: the copy that [Follow] keeps up to date is not what it wrote.
var ErrWritten = errors.New("the copy was written to by somebody else")

// FollowOptions says how to follow.
type FollowOptions struct {
	// Options are those of [Restore]. TXID and Timestamp must be zero. Force replaces
	// what is at the target if it is not a copy that can be gone on with. Progress is
	// of the first restore.
	Options

	// Interval is the time between two polls. The default is 1 s: of a quiet replica,
	// that is 3,500 requests for an object and 130 listings an hour. With 30 s or more,
	// each poll is a listing.
	Interval time.Duration

	// Report is called once when the copy is there, and then whenever something
	// changed.
	Report func(Followed)
}

// Followed is how a copy is.
type Followed struct {
	TXID     format.TXID // of the copy
	Time     time.Time   // of the TXID, as its writer recorded it
	PageSize uint32      // bytes
	Pages    uint32      // size of the database

	Tip    format.TXID   // the newest one that the replica is known to have
	Behind time.Duration // how long the oldest file that the copy lacks is there; 0 if it has all

	// Of the step that led here. Files is 0 if there was none.
	Files    int
	Bytes    int64
	Duration time.Duration

	Resumed bool  // the copy was there already
	Waiting bool  // for somebody who reads it
	Err     error // what ails it, until the next report
}

// follower keeps one copy up to date.
type follower struct {
	store storage.Store
	opts  FollowOptions
	place *place // of the copy; nil until it is known to be ours to write
	path  string
	state *followFile
	copy  *followed // nil if it is not open

	tip   format.TXID
	since time.Time // when the oldest file that the copy lacks was written
	quiet int       // polls in a row without news
	full  bool      // list all levels at the next poll
	anew  bool      // and begin with a snapshot if there is a way
	said  string    // the last error
}

// Follow restores the newest state to target, or goes on with the copy that an
// earlier Follow left there, and keeps it up to date until ctx is done, whose cause
// it returns. Faults of the store are reported, and tried again. It fails as
// [Restore] does before there is a copy, and with [ErrWritten].
func Follow(ctx context.Context, store storage.Store, target string, opts FollowOptions) error {
	opts.Logger = cmp.Or(opts.Logger, slog.New(slog.DiscardHandler))
	opts.Parallelism = cmp.Or(max(opts.Parallelism, 0), 64)
	opts.Interval = cmp.Or(max(opts.Interval, 0), time.Second)
	if opts.Report == nil {
		opts.Report = func(Followed) {}
	}
	if opts.TXID != 0 || !opts.Timestamp.IsZero() {
		return planError(store, errors.New("what is followed is the newest state, not one TXID or time"))
	}
	if real, err := filepath.EvalSymlinks(target); err == nil {
		target = real
	}
	state, err := openFollowFile(target, opts.hooks)
	if err != nil {
		return err
	}
	f := &follower{store: store, opts: opts, path: target, state: state, full: true}
	defer f.close()

	resumed, err := f.resume()
	if errors.Is(err, ErrWritten) && opts.Force {
		resumed, err = false, f.closeCopy()
	}
	if err == nil && !resumed {
		err = f.begin(ctx)
	}
	if err != nil {
		return err
	}
	return f.loop(ctx)
}

func (f *follower) close() {
	f.closeCopy()
	f.state.close()
}

func (f *follower) closeCopy() error {
	if f.copy == nil {
		return nil
	}
	err := f.copy.close()
	f.copy = nil
	return err
}

// resume opens the copy that an earlier run left.
func (f *follower) resume() (bool, error) {
	if f.state.Replica == "" || !exists(f.path) {
		return false, nil
	}
	if f.state.Replica != f.store.String() {
		if f.opts.Force {
			return false, nil
		}
		return false, &Error{"follow to", f.path, errors.New("it is a copy of " + f.state.Replica), "to replace it, force it"}
	}
	f.place = &place{path: f.path, hooks: f.opts.hooks}
	var err error
	if f.copy, err = openFollowed(f.place, f.state); err != nil {
		return false, err
	}
	if err := f.copy.settle(); err != nil {
		return false, err
	}
	os.Remove(f.path + applySuffix)
	f.tip = f.state.At.TXID
	f.report(Followed{Resumed: true})
	return true, nil
}

// begin makes the copy.
func (f *follower) begin(ctx context.Context) error {
	start := time.Now()
	opts := f.opts.Options
	place, err := openPlace(f.path, opts)
	if err != nil {
		return err
	}
	plan, err := makePlan(ctx, f.store, opts)
	if err != nil {
		return err
	}
	tmp, err := place.create()
	if err != nil {
		return err
	}
	defer tmp.discard()
	db := newDatabase(opts.hooks.wrap(tmp.name, tmp.file), tmp.name)
	result, _, err := applyPlans(ctx, f.store, plan, db, opts)
	if err != nil {
		return err
	}
	at, err := f.firstPosition(ctx, tmp, db, result)
	if err != nil {
		return err
	}
	// Before the copy has its name: a copy without this could not be gone on with.
	remember := func() (undo func(), err error) {
		back, err := tmp.remember(f.store, nil, db) // nobody takes the replica over with it
		if err != nil {
			return nil, err
		}
		undo = func() { back(); f.state.forget() }
		if err := f.state.save(followState{Replica: f.store.String(), At: at}); err != nil {
			return undo, err
		}
		return undo, place.syncDir()
	}
	if err := tmp.publish(ctx, db, remember); err != nil {
		return err
	}
	f.place, f.tip = place, at.TXID
	place.force, place.keep = false, ""
	if f.copy, err = openFollowed(place, f.state); err != nil {
		return err
	}
	f.report(Followed{Files: result.Files, Bytes: result.Bytes, Duration: time.Since(start)})
	return nil
}

// firstPosition puts a restored file into rollback mode.
func (f *follower) firstPosition(ctx context.Context, tmp *temp, db *database, r Result) (position, error) {
	at := position{TXID: r.TXID, Time: r.Time, PageSize: r.PageSize, Pages: r.Pages, Counter: 1}
	page := make([]byte, r.PageSize)
	if _, err := tmp.file.ReadAt(page, 0); err != nil {
		return at, &Error{Op: "read", Name: tmp.name, Err: pathless(err)}
	}
	if err := at.stamp(page); err != nil {
		return at, &Error{Op: "follow to", Name: f.path, Err: err}
	}
	if err := db.write(page, 0); err != nil {
		return at, err
	}
	listed, err := ListFiles(ctx, f.store)
	if err == nil {
		at.File, at.Anchor, err = f.identify(ctx, listed, at.TXID, knownFile{})
	}
	return at, err
}

// report tells how the copy is, beside what the caller knows.
func (f *follower) report(r Followed) {
	at := f.state.At
	r.TXID, r.Time, r.PageSize, r.Pages = at.TXID, at.Time, at.PageSize, at.Pages
	r.Tip = max(f.tip, at.TXID)
	if r.Tip > r.TXID && !f.since.IsZero() {
		r.Behind = max(0, time.Since(f.since))
	}
	f.opts.Report(r)
}

// maxPause bounds the time between two tries.
const maxPause = 30 * time.Second

func (f *follower) loop(ctx context.Context) error {
	for pause := f.opts.Interval; ; {
		again, err := f.step(ctx)
		switch {
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case errors.Is(err, ErrWritten):
			return err
		case err == nil:
			pause, f.said = f.opts.Interval, ""
		default:
			if err.Error() != f.said {
				f.said = err.Error()
				f.report(Followed{Err: err})
			}
			pause, f.full = min(2*pause, max(maxPause, f.opts.Interval)), true
		}
		if again {
			continue
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(pause):
		}
	}
}

// hasSidecar reports whether an application opened the copy through the VFS.
func hasSidecar(path string) bool { return exists(path + sidecar.Suffix) }
