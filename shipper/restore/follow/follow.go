// Package follow keeps a copy of a database up to date while other programs read it
// through SQLite.
//
//	err := follow.Run(ctx, store, "copy.db", follow.Options{})
//
// [Run] restores the newest state, and then updates that copy. Each step takes it from
// one TXID to another:
//
//	poll      does the next file exist? then one listing, from the copy's own file on
//	fetch     the changed pages, once each -> app.db-walvfs-apply
//	lock      as a SQLite writer does: SHARED, RESERVED, EXCLUSIVE
//	commit    app.db-walvfs-apply is renamed to app.db-journal
//	apply     its pages are written to app.db, and synced
//	done      app.db-journal is removed, the locks are released
//
// The file of pages is a rollback journal, byte for byte, except for its content: it
// holds the pages not as they were, but as they will be. SQLite's recovery writes a
// journal's pages into the database, and gives the database the size that the journal's
// header has. It does nothing else, and doing it twice does no harm. So:
//
//   - No reader sees a state between two TXIDs. A copy is in rollback mode, whatever mode
//     its source has: readers hold SHARED while they read, [Run] writes nothing without
//     EXCLUSIVE, and the journal has its name only under that lock. Readers notice
//     changes by the change counter in page 1, which every step increments.
//   - No crash leaves a state between two TXIDs. Before the rename is durable, nothing
//     was written. After it, the whole journal is durable, and hot: the next program that
//     opens the copy, SQLite or [Run], writes it again, to the end.
//   - A change of the page size, a database that shrank and a database from a newer
//     snapshot are no special cases: SQLite's recovery handles them for VACUUM.
//
// A SQLite transaction could do the same, but go-sqlite3 offers no way to write pages by
// number, and SQLite's backup API writes every page each time. WAL mode would not block
// on long readers, but [Run] would have to maintain an index that every reader trusts.
// Here, a long reader stops the copy from advancing instead, and [Run] reports that.
// While it waits for such a reader, it blocks new readers for at most 5 s: they should
// have a busy_timeout. After a crash in the middle of a step, opening the copy with
// mode=ro fails until a program with write access has opened it.
//
// The file app.db-walvfs-follow next to the copy holds its TXID, and evidence that no
// other program wrote to it. The copy has no state file, so that no application takes
// over the replica with it.
package follow

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"time"

	"github.com/walvfs/walvfs/format"
	"github.com/walvfs/walvfs/internal/statefile"
	"github.com/walvfs/walvfs/shipper/replica"
	"github.com/walvfs/walvfs/shipper/restore"
	"github.com/walvfs/walvfs/shipper/restore/internal/disk"
	"github.com/walvfs/walvfs/shipper/storage"
)

// ErrWritten: the copy that [Run] maintains differs from what it wrote.
var ErrWritten = errors.New("another program wrote to the copy")

// Options sets how to follow.
type Options struct {
	// Options are those of [restore.Restore]. TXID and Timestamp must be zero. Force
	// replaces an existing target that is not a copy that Run can continue. Progress is of
	// the first restore.
	restore.Options

	// Interval is the time between two polls. The default is 1 s: an idle replica then costs
	// 3,500 requests for an object and 130 listings an hour. With 30 s or more, each poll is
	// a listing.
	Interval time.Duration

	// Report is called once when the copy exists, and then after each change.
	Report func(Status)

	hooks disk.Hooks
}

// patience is how long a download may stall before a step fails.
const patience = 2 * time.Minute

func (o Options) read(store storage.Store) *replica.Replica {
	return replica.New(store, replica.Options{Patience: patience, Logger: o.Logger})
}

// Status describes a copy.
type Status struct {
	TXID     format.TXID // of the copy
	Time     time.Time   // of the TXID, as its writer recorded it
	PageSize uint32      // bytes
	Pages    uint32      // size of the database

	Tip    format.TXID   // the replica's newest known TXID
	Behind time.Duration // age of the oldest file that the copy lacks; 0 if it lacks none

	// The step that led to this report. Files is 0 if no step did.
	Files    int
	Bytes    int64
	Duration time.Duration

	Resumed bool  // the copy already existed
	Waiting bool  // for a reader of the copy
	Err     error // the current error, until the next report
}

// follower keeps one copy up to date.
type follower struct {
	store storage.Store
	from  *replica.Replica // reads the store
	opts  Options
	path  string // of the copy
	state *followFile
	copy  *followed // nil if it is not open

	tip   format.TXID
	since time.Time          // when the oldest file that the copy lacks was written
	quiet int                // polls in a row without news
	full  bool               // list all levels at the next poll
	bad   []*replica.Damaged // not to be used again
	said  string             // last reported error
}

// Run restores the newest state to target, or continues the copy that an earlier Run made
// there, and keeps it up to date until ctx is done, whose cause it returns. It reports
// errors of the store and retries. It fails as [restore.Restore] does before the copy
// exists, and with [ErrWritten].
func Run(ctx context.Context, store storage.Store, target string, opts Options) error {
	opts.Logger = cmp.Or(opts.Logger, slog.New(slog.DiscardHandler))
	opts.Parallelism = cmp.Or(max(opts.Parallelism, 0), 64)
	opts.Interval = cmp.Or(max(opts.Interval, 0), time.Second)
	if opts.Report == nil {
		opts.Report = func(Status) {}
	}
	if opts.TXID != 0 || !opts.Timestamp.IsZero() {
		return opts.read(store).PlanError(errors.New("a copy follows the newest state, not a TXID or a time"))
	}
	target, _, err := restore.Look(target)
	if err != nil {
		return followTo(err)
	}
	state, err := openFollowFile(target, opts.hooks)
	if err != nil {
		return err
	}
	f := &follower{store: store, from: opts.read(store), opts: opts, path: target, state: state, full: true}
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

// resume opens the copy that an earlier run made. It reports whether one exists.
func (f *follower) resume() (bool, error) {
	if (f.state.Replica == "" && !f.state.damaged) || !disk.Exists(f.path) {
		return false, nil
	}
	if f.state.Replica != f.from.String() {
		if f.opts.Force {
			return false, nil
		}
		why := errors.New("it is a copy of " + f.state.Replica)
		if f.state.damaged {
			why = fmt.Errorf("%s: %w: it is damaged, or an earlier version wrote it", f.path+followSuffix, statefile.ErrInvalid)
		}
		return false, &restore.Error{Op: "follow to", Name: f.path, Err: why, Hint: "to replace the copy, force it"}
	}
	var err error
	if f.copy, err = openFollowed(place{f.path, f.opts.hooks}, f.state); err != nil {
		return false, err
	}
	if err := f.copy.settle(); err != nil {
		return false, err
	}
	os.Remove(f.path + applySuffix)
	f.tip = f.state.At.TXID
	f.report(Status{Resumed: true})
	return true, nil
}

// begin makes the copy.
func (f *follower) begin(ctx context.Context) error {
	start := time.Now()
	before, at := f.state.followState, position{}
	copying := disk.Copying{
		Prepare: func(file *os.File, name string, h format.LTXHeader) (err error) {
			at, err = f.firstPosition(ctx, file, name, h)
			return err
		},
		// The state must be durable before the copy has its name: without it, the next run
		// could not continue the copy.
		Remember: func(name string) error {
			id, err := disown(name, f.path)
			if err != nil {
				return err
			}
			return f.remember(followState{Replica: f.from.String(), Copy: id, At: at})
		},
	}
	result, err := restore.Restore(ctx, f.store, f.path, f.opts.Options.With(f.opts.hooks, copying))
	if err != nil {
		if id, e := statefile.Identify(f.path); e != nil || id != f.state.Copy { // the copy does not have its name
			f.state.followState = before
		}
		return err
	}
	f.tip = at.TXID
	if f.copy, err = openFollowed(place{f.path, f.opts.hooks}, f.state); err != nil {
		return err
	}
	f.report(Status{Files: result.Files, Bytes: result.Bytes, Duration: time.Since(start)})
	return nil
}

// remember makes a state durable, with the name of its file.
func (f *follower) remember(s followState) error {
	if err := f.state.save(s); err != nil {
		return err
	}
	return place{f.path, f.opts.hooks}.syncDir()
}

// firstPosition puts a restored file into rollback mode.
func (f *follower) firstPosition(ctx context.Context, file *os.File, name string, h format.LTXHeader) (position, error) {
	at := position{TXID: h.MaxTXID, Time: time.UnixMilli(h.Timestamp).UTC(), PageSize: h.PageSize, Pages: h.Commit, Counter: 1}
	page := make([]byte, h.PageSize)
	if _, err := file.ReadAt(page, 0); err != nil {
		return at, &restore.Error{Op: "read", Name: name, Err: disk.Pathless(err)}
	}
	if err := at.stamp(page); err != nil {
		return at, &restore.Error{Op: "follow to", Name: f.path, Err: err}
	}
	if _, err := f.opts.hooks.Wrap(name, file).WriteAt(page, 0); err != nil {
		return at, &restore.Error{Op: "write", Name: name, Err: disk.Pathless(err)}
	}
	listed, err := f.from.Files(ctx)
	if err == nil {
		at.File, at.Anchor, err = f.identify(ctx, listed, at)
	}
	return at, err
}

// report reports the copy's state and the fields that the caller sets.
func (f *follower) report(r Status) {
	at := f.state.At
	r.TXID, r.Time, r.PageSize, r.Pages = at.TXID, at.Time, at.PageSize, at.Pages
	r.Tip = max(f.tip, at.TXID)
	if r.Tip > r.TXID && !f.since.IsZero() {
		r.Behind = max(0, time.Since(f.since))
	}
	f.opts.Report(r)
}

// maxPause bounds the time between two attempts.
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
				f.report(Status{Err: err})
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

// hasSidecar reports whether an application opened the copy through the VFS. A record of
// another file is of the database that the copy replaced.
func hasSidecar(path string) bool {
	s, err := statefile.Load(path)
	if err != nil {
		return !errors.Is(err, fs.ErrNotExist)
	}
	id, err := statefile.Identify(path)
	return err != nil || s.File == id && s.Replica != ""
}

// disown identifies the new copy under its temporary name. If the database that it
// replaces has a state file, it writes a record without a replica for the copy, so that no
// application takes over the replica with it.
func disown(name, path string) (id statefile.FileID, err error) {
	id, err = statefile.Identify(name)
	if err == nil && disk.Exists(path+statefile.Suffix) {
		err = statefile.New("", id).Save(path)
	}
	return id, err
}

// followTo rewords an error of [restore.Look] for following.
func followTo(err error) error {
	if e, ok := errors.AsType[*restore.Error](err); ok {
		e.Op = "follow to"
	}
	return err
}
