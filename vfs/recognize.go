package vfs

import (
	"context"
	"fmt"
	"time"

	"github.com/walvfs/walvfs/format"
	"github.com/walvfs/walvfs/shipper"
	"github.com/walvfs/walvfs/shipper/replica"
	"github.com/walvfs/walvfs/vfs/internal/continuity"
)

// evidence is this process's evidence on whether the database may continue its replica.
// Only the shipper's goroutine uses it.
type evidence struct{ continuity.Evidence }

func (d *database) atOpen() evidence {
	return evidence{continuity.Evidence{
		Exists:    true,
		Record:    d.opened.Record,
		Proof:     d.opened.Proof,
		Restored:  d.opened.Restored,
		Rewound:   d.opened.Rewound,
		Adopt:     continuity.Adopt(d.cfg.adopt),
		Overwrite: d.cfg.diverged == DivergedOverwrite,
	}}
}

// goesOn notes that the database continues the replica's newest file, and that the ledger
// has all pages which that file lacks. With claim, the claim is still to be made.
func (e *evidence) goesOn(claim bool) {
	e.Record, e.Proof, e.Restored, e.Rewound = continuity.OwnFile, continuity.Proven, claim, false
}

// Last implements [shipping.Source].
func (d *database) Last() format.TXID { return d.ledger.Newest().TXID }

// Intended implements [shipping.Source].
func (d *database) Intended(pos shipper.Position) bool {
	_, ok := d.ledger.Find(pos)
	return ok
}

// Recognize implements [shipping.Source].
func (d *database) Recognize(ctx context.Context, tip *replica.Tip) error {
	defer d.tell()
	e, err := d.gather(ctx, tip)
	if err != nil {
		return err
	}
	v := continuity.Judge(e)
	if v.Action == continuity.Compare {
		d.log.Warn("local files cannot prove that this database continues the replica; comparing with a download", "tip", tip.MaxTXID)
		differs, err := d.compare(ctx, tip)
		switch {
		case err != nil:
			return err
		case differs == "":
			e.Content = continuity.Equal
		default:
			e.Content = continuity.Different
		}
		if v = continuity.Judge(e); v.Action == continuity.Halt {
			return d.halt(tip, v.Why, differs)
		}
	}
	if v.Action == continuity.Halt {
		return d.halt(tip, v.Why, "")
	}
	d.forgetFingerprint()
	d.obey(v)
	if tip != nil {
		d.goOn(tip)
	}
	if v.Action == continuity.Continue && v.Why != continuity.Known {
		d.ledger.Keep() // the other actions upload a file at once, which also does that
	}
	d.evidence.goesOn(v.Action == continuity.Claim)
	return nil
}

// gather finds out how the replica's tip relates to this database.
func (d *database) gather(ctx context.Context, tip *replica.Tip) (continuity.Evidence, error) {
	e := d.evidence.Evidence
	e.OwnChanges = !d.ledger.Clean() || d.ledger.Unscanned(d.opened.Found)
	if tip == nil {
		e.Tip = continuity.TipNone
		return e, nil
	}
	e.OurNode = tip.Header.NodeID == d.ledger.NodeID()
	pos := shipper.Position{TXID: tip.MaxTXID, Checksum: tip.Checksum}
	acked := d.ledger.Newest()
	switch _, known := d.ledger.Find(pos); {
	case known:
		e.Tip = continuity.TipMarked
	case acked.TXID == 0 || acked.TXID >= tip.MaxTXID:
		e.Tip = continuity.TipForeign
	default:
		follows, err := replica.New(d.store, replica.Options{}).Follows(ctx, acked.TXID, acked.Checksum)
		if err != nil {
			return e, err
		}
		e.Tip = continuity.TipForeign
		if follows {
			e.Tip = continuity.TipFollows
		}
	}
	return e, nil
}

// obey carries out a verdict, except a halt.
func (d *database) obey(v continuity.Verdict) {
	d.claim.Store(v.Action == continuity.Claim)
	d.ledger.Decided()
	switch v.Action {
	case continuity.Begin:
		reason := ""
		if d.ledger.Newest().TXID != 0 {
			reason = "the replica is empty, and was not"
		}
		d.ledger.NeedAll(reason)
		d.ledger.Forget()
		d.theirPageSize, d.rebase = 0, false
	case continuity.Resync:
		reason := v.Why.String()
		if v.Why == continuity.NotProven {
			reason = d.opened.Why.Error()
		}
		d.ledger.NeedAll(reason)
	case continuity.Continue, continuity.Claim:
		if v.Why != continuity.Known && v.Why != continuity.WasRestored {
			d.log.Info("continuing the replica", "reason", v.Why)
			d.ledger.Holds()
		}
	}
}

// goOn makes the replica's tip the file that the next cut follows.
func (d *database) goOn(tip *replica.Tip) {
	pos := shipper.Position{TXID: tip.MaxTXID, Checksum: tip.Checksum}
	mark, _ := d.ledger.Find(pos)
	mark.TXID, mark.Checksum = pos.TXID, pos.Checksum
	if d.rebase = mark.Rebase; d.rebase {
		d.ledger.NeedAll("the page size changed, and the upload was interrupted")
	}
	d.theirPageSize = tip.Header.PageSize
	d.ledger.Recognized(mark)
}

// halt returns an error with the reason of a halt, and the remedies.
func (d *database) halt(tip *replica.Tip, why continuity.Why, differs string) error {
	newest := fmt.Sprintf("the newest file is TXID %s of %s", tip.MaxTXID, tip.Time.UTC().Format(time.RFC3339Nano))
	if differs != "" {
		newest += "; " + differs
	}
	if d.opened.Err != nil {
		newest += fmt.Sprintf("; and the state file cannot be read: %v", d.opened.Err)
	}
	remedy := "to continue from the replica, restore it over this file (walvfs restore --force); to continue with this file's content, set diverged=overwrite; or use another replica URL"
	switch why {
	case continuity.Behind:
		remedy = "to continue from the replica, set restore=if-behind or run walvfs restore --force; to continue from this older state, set diverged=overwrite; or use another replica URL"
	case continuity.LostCommits:
		remedy = "restore the replica to have them back, or set diverged=overwrite to go on without them"
	case continuity.Copy:
		remedy = "if this copy is to take the original's place, run walvfs adopt, or set adopt=equal; else give it a replica URL of its own"
	case continuity.Diverged:
		if differs == "" {
			remedy = "if this database equals it, run walvfs adopt, which compares them, or set adopt=equal; " + remedy
		}
	}
	d.forgetFingerprint()
	if why != continuity.Diverged { // ErrDiverged already says so
		newest = why.String() + ": " + newest
	}
	return fmt.Errorf("%w: %s (%s%s)", shipper.ErrDiverged, newest, remedy, d.cfg.foreignHint())
}
