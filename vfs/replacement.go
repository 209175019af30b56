package vfs

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/walvfs/walvfs/internal/statefile"
	"github.com/walvfs/walvfs/shipper"
	"github.com/walvfs/walvfs/shipper/replica"
	"github.com/walvfs/walvfs/shipper/restore"
	"github.com/walvfs/walvfs/shipper/storage"
	"github.com/walvfs/walvfs/vfs/internal/continuity"
	"github.com/walvfs/walvfs/vfs/internal/ledger"
	"github.com/walvfs/walvfs/vfs/internal/wal"
)

// A replacement of a database by its replica, if [continuity.BeforeOpen] finds a reason.
// It looks up the replica's tip once.
type replacement struct {
	path  string
	cfg   settings
	store storage.Store
	log   *slog.Logger

	found   ledger.Inspection
	tip     *replica.Tip // nil before the look-up, or if the replica has none
	asked   bool
	verdict continuity.Verdict // of found
	judged  bool               // verdict is set
}

func (r *replacement) run(ctx context.Context) error {
	return r.waiting(func() error {
		lock, err := lockDatabase(r.path) // the file stays unchanged
		if err != nil {
			return err
		}
		defer lock.Close()
		if err := restore.CleanUp(r.path); err != nil {
			return err
		}
		v, err := r.judge(ctx)
		if err != nil || v.Action != continuity.Replace {
			return err
		}
		return r.replace(ctx, v.Why)
	})
}

// mostChanges is how often a database may change before it is judged.
const mostChanges = 10

// waiting retries while another program has the database open, up to lock_timeout, and
// after another program has written to it.
func (r *replacement) waiting(try func() error) error {
	for deadline := r.cfg.lockUntil(); ; time.Sleep(lockPoll) {
		err := try()
		for again := 0; errors.Is(err, errChanged) && again < mostChanges; again++ {
			err = try() // the database may have commits of its own now
		}
		if inUse := errors.Is(err, restore.ErrInUse) || errors.Is(err, errLocked); !inUse || time.Now().After(deadline) {
			return err
		}
	}
}

// judge decides whether to replace the database. It does not judge an unchanged database
// again: while a program has the database open, attempts follow each other every few
// milliseconds, and a comparison downloads the replica.
func (r *replacement) judge(ctx context.Context) (continuity.Verdict, error) {
	before := r.found
	e, err := r.inspect()
	if err == nil && !(r.judged && e.Exists && r.found.Same(before)) {
		r.verdict, err = r.decide(ctx, e)
		r.judged = err == nil
		if v := r.verdict; r.judged && e.Exists && v.Action == continuity.Replace {
			r.log.Warn("the database is behind its replica and will be replaced", "reason", v.Why, "kept", r.path+statefile.SuffixBehind)
		}
	}
	return r.verdict, err
}

// decide gathers the evidence until a decision is possible.
func (r *replacement) decide(ctx context.Context, e continuity.Evidence) (v continuity.Verdict, err error) {
	v = continuity.BeforeOpen(e)
	if v.Action == continuity.AskReplica {
		if e.Tip, err = r.ask(ctx); err == nil && e.Tip == continuity.TipNone && !e.Exists {
			err = r.nothing(ctx)
		}
		if err != nil {
			return v, err
		}
		v = continuity.BeforeOpen(e)
	}
	if v.Action == continuity.Compare {
		if e.Content, err = r.compare(ctx); err != nil {
			return v, err
		}
		v = continuity.BeforeOpen(e)
	}
	return v, nil
}

// inspect gathers the evidence of the local files.
func (r *replacement) inspect() (e continuity.Evidence, err error) {
	e.Restore = continuity.Restore(r.cfg.restore)
	_, presence, err := restore.Look(r.path)
	if err != nil || presence != restore.Present {
		return e, err
	}
	if r.found, err = ledger.Inspect(r.path, r.store.String()); err != nil {
		return e, err
	}
	e.Exists = true
	e.Record, e.Proof, e.OwnChanges = r.found.Record, r.found.Proof, r.found.OwnChanges
	e.Restored, e.Rewound = r.found.Restored, r.found.Rewound
	return e, nil
}

// ask finds out how the replica's tip relates to the database.
func (r *replacement) ask(ctx context.Context) (_ continuity.Tip, err error) {
	acked := r.found.Acked()
	if !r.asked {
		if r.tip, err = replica.New(r.store, replica.Options{}).Tip(ctx, acked.TXID); err != nil {
			return continuity.TipUnknown, err
		}
		r.asked = true
	}
	switch tip := r.tip; {
	case tip == nil:
		return continuity.TipNone, nil
	case r.found.Names(shipper.Position{TXID: tip.MaxTXID, Checksum: tip.Checksum}):
		frames, ok := wal.CutFrames(tip.Header, r.found.Found.WAL)
		if ok && frames > int64(r.found.Found.Last) && r.found.LostNothingElse() {
			return continuity.TipHoldsLoss, nil
		}
		return continuity.TipMarked, nil
	case acked.TXID == 0 || tip.MaxTXID <= acked.TXID:
		return continuity.TipForeign, nil
	}
	follows, err := replica.New(r.store, replica.Options{}).Follows(ctx, acked.TXID, acked.Checksum)
	if !follows || err != nil {
		return continuity.TipForeign, err
	}
	return continuity.TipFollows, nil
}

// nothing fails if a replica without a tip holds a backup nevertheless, which cannot be
// restored or not be continued: an application whose database is missing must not start
// with an empty database then.
func (r *replacement) nothing(ctx context.Context) error {
	from := replica.New(r.store, replica.Options{})
	switch _, err := from.Files(ctx); {
	case errors.Is(err, replica.ErrNone):
		return nil
	case err != nil:
		return err
	}
	return from.Begins(ctx)
}

// replace restores the replica's newest state over the database, or to a path without a
// database. It confirms the verdict once no other program can have the database open.
func (r *replacement) replace(ctx context.Context, why continuity.Why) error {
	opts := restore.Options{Logger: r.log}
	what := "restored"
	if why == continuity.LostCommits {
		if err := r.noteLoss(ctx); err != nil {
			return err
		}
	}
	if why != continuity.Missing {
		if err := r.settle(); err != nil {
			return err
		}
		opts.Force, opts.Keep, opts.Confirm = true, r.path+statefile.SuffixBehind, r.confirm
		what = "rolled forward"
	}
	result, err := restore.Restore(ctx, r.store, r.path, opts)
	switch {
	case errors.Is(err, restore.ErrNoReplica):
		r.log.Info("nothing to restore: the replica is empty")
		return nil
	case why == continuity.Missing && errors.Is(err, restore.ErrExists) && r.isThere():
		return nil // another process was faster
	case err != nil:
		return err
	}
	r.log.Warn(what, "txid", result.TXID, "time", result.Time, "pages", result.Pages, "took", result.Duration)
	return nil
}

// noteLoss writes the loss to the state file, so that it survives a crash: the
// replacement begins with a checkpoint, and without the WAL nothing shows that the disk
// has lost commits.
func (r *replacement) noteLoss(ctx context.Context) error {
	left, err := r.left(ctx)
	if err != nil {
		return err
	}
	if err := r.found.NoteLoss(left); err != nil {
		return fmt.Errorf("note that the disk has lost commits: %w", err)
	}
	now, err := ledger.Inspect(r.path, r.store.String())
	if err == nil && now.Found != r.found.Found {
		err = errChanged
	}
	r.found = now
	return err
}

// left finds the replica's newest file of which the disk has lost nothing. It returns
// zero if retention has removed that file.
func (r *replacement) left(ctx context.Context) (shipper.Position, error) {
	for txid := r.tip.MaxTXID - 1; txid > 0; txid-- {
		file, err := replica.New(r.store, replica.Options{}).Raw(ctx, txid)
		if file == nil || err != nil {
			return shipper.Position{}, err
		}
		frames, ok := wal.CutFrames(file.Header, r.found.Found.WAL)
		if !ok || frames <= int64(r.found.Found.Last) {
			return shipper.Position{TXID: file.MaxTXID, Checksum: file.Checksum}, nil
		}
	}
	return shipper.Position{}, nil
}

func (r *replacement) isThere() bool {
	_, presence, err := restore.Look(r.path)
	return err == nil && presence == restore.Present
}

// errChanged: the database has changed since judge inspected it, and must be judged
// again.
var errChanged = errors.New("another program keeps writing to the database (stop it first)")

// settle waits until a write to the database would change its modification time:
// otherwise a write in the same tick of the clock would go unnoticed. It waits for one
// tick at most, since that time may be in the future.
func (r *replacement) settle() error {
	if r.found.Found.Settled {
		return nil
	}
	time.Sleep(statefile.Tick(r.found.Found.MTime))
	if err := r.confirm(); err != nil {
		return err
	}
	r.found.Found.Settled = true
	return nil
}

// confirm returns nil if the database has not changed since it was judged.
func (r *replacement) confirm() error {
	now, err := ledger.Inspect(r.path, r.store.String())
	if err != nil {
		return err
	}
	if !now.Same(r.found) {
		return errChanged
	}
	return nil
}

// compare compares the database, at its own last commit, with the newest file that the
// replica acknowledged to it: a replacement would lose commits after that file. A later
// write must be noticed.
func (r *replacement) compare(ctx context.Context) (continuity.Content, error) {
	if err := r.settle(); err != nil {
		return continuity.Uncompared, err
	}
	f, err := wal.FingerprintFound(ctx, r.path, r.found.Found)
	if err != nil {
		return continuity.Uncompared, fmt.Errorf("read the database to compare it: %w", err)
	}
	r.log.Warn("local files cannot prove that this database is an older state of the replica; comparing with a download", "txid", r.found.Acked().TXID)
	differs, err := comparePages(ctx, r.store, r.found.Acked().TXID, f, r.found.Found.Last, r.found.Found, r.log)
	switch {
	case err != nil: // such as a TXID that retention has removed
		r.log.Warn("comparing the database with the replica's history failed", "error", err)
		return continuity.Different, nil
	case differs != "":
		return continuity.Different, nil
	}
	return continuity.Equal, nil
}
