// Package continuity decides whether a database may go on from a replica.
//
// Content can prove that a database equals what a replica holds. It cannot prove that
// the database may go on from there: a clone on another machine equals it, too, and
// would fence the application that it was cloned from. So [Judge] asks three questions,
// of everybody who opens, restores, pushes or adopts a database:
//
//	who     is this the file that wrote the replica's newest file?    Evidence.Record
//	what    does it hold what that file holds?                        Evidence.Proof, Content
//	may it  what did its user allow?                                  Evidence.Adopt, Restore, Overwrite
//
// Judge is a pure function. Evidence that costs a request or a download is gathered when
// Judge asks for it: [AskReplica], [Compare].
package continuity

// Evidence is what is known of a database and its replica.
type Evidence struct {
	Exists bool   // there is a database: a file of 0 bytes without a log is none
	Record Record // whose the state file beside it is
	Proof  Proof  // what the state file and the files prove

	Restored   bool // by walvfs, and not opened since
	Rewound    bool // restored to an older moment, to go on from it
	OwnChanges bool // it has, or may have, commits that the file of its mark lacks

	Tip     Tip
	OurNode bool // this file wrote the tip, by its node ID
	Content Content

	Adopt     Adopt
	Restore   Restore
	Overwrite bool // diverged=overwrite
}

// A Record says whose the state file beside a database is.
type Record int

// The records.
const (
	NoRecord Record = iota // there is none, or it cannot be read, or is another replica's
	OwnFile                // this file's
	Moved                  // another file's, on this machine, which is gone from where it was
	Copied                 // another file's, which may still be in use
)

// A Proof says what the state file and the database's files prove.
type Proof int

// The proofs.
const (
	Unproven Proof = iota // any page may differ from the file of the mark
	Proven                // it is known which pages differ
	DiskLost              // the disk has lost commits that the replica may have
)

// A Tip says what the replica's newest file is to this database.
type Tip int

// The tips.
const (
	TipUnknown   Tip = iota // nobody has asked
	TipNone                 // the replica has no files
	TipMarked               // the state file names it
	TipFollows              // the state file names an older file that it follows
	TipHoldsLoss            // the state file names it, and it holds what the disk has lost
	TipForeign              // the state file names none that leads there
)

// Content is the outcome of comparing the database, as it was opened, with the tip.
type Content int

// The outcomes.
const (
	Uncompared Content = iota
	Equal              // page for page, at the boundary it was opened at, or at an earlier one of its WAL
	Different          // or it has changed too much since it was opened to tell
)

// Adopt is the user's word on databases that equal the tip, but are not known to be the
// one that wrote it.
type Adopt int

// The words. The zero value is the default.
const (
	AdoptMoved Adopt = iota // a file that was moved goes on, one that was copied does not
	AdoptEqual              // any
	AdoptNever              // none
)

// Restore is the user's word on replacing a database by its replica before it is opened.
type Restore int

// The words. The zero value is the default.
const (
	RestoreNever Restore = iota
	RestoreIfMissing
	RestoreIfBehind
)

// An Action is what is to be done.
type Action int

// The actions.
const (
	Open       Action = iota // leave the database as it is
	AskReplica               // for its tip, and judge again
	Compare                  // the content with the tip, and judge again
	Replace                  // the database by the replica's newest state
	Begin                    // a new log: the whole database as TXID 1
	Continue                 // the next file holds what changed
	Claim                    // as Continue, at once, even if nothing changed: it fences an older writer
	Resync                   // the next file holds the whole database
	Halt                     // replicate nothing: only a person can tell what is right
)

// A Verdict is what may be done, and why.
type Verdict struct {
	Action Action
	Why    Why
}

// BeforeOpen judges whether a database is to be replaced before SQLite opens it. The
// action is [Open], [AskReplica], [Replace], or [Compare]: here with the file that the
// state file names, which is older than the tip.
func BeforeOpen(e Evidence) Verdict {
	switch {
	case e.Restore == RestoreNever, e.Exists && e.Restore != RestoreIfBehind:
		return Verdict{Open, NotAsked}
	case !e.Exists:
		return replaceable(e, e.Tip != TipNone, Missing)
	case e.Record != OwnFile:
		return Verdict{Open, NotAsked} // nothing is known of the replica
	case e.Proof == DiskLost:
		return replaceable(e, e.Tip == TipHoldsLoss, LostCommits)
	case e.Rewound || e.Proof == Proven && e.OwnChanges:
		return Verdict{Open, NotAsked}
	case e.Proof == Unproven && e.Tip == TipFollows && e.Content == Uncompared:
		return Verdict{Compare, Behind}
	}
	return replaceable(e, e.Tip == TipFollows && (e.Proof == Proven || e.Content == Equal), Behind)
}

func replaceable(e Evidence, replace bool, why Why) Verdict {
	switch {
	case e.Tip == TipUnknown:
		return Verdict{AskReplica, why}
	case replace:
		return Verdict{Replace, why}
	}
	return Verdict{Open, NotAsked}
}

// Judge judges whether an open database may go on from its replica, whose tip must be
// known.
func Judge(e Evidence) Verdict {
	switch {
	case e.Tip == TipNone:
		return Verdict{Begin, EmptyReplica}
	case e.Tip == TipMarked || e.Tip == TipHoldsLoss:
		return judgeMarked(e)
	case e.Overwrite:
		return Verdict{Resync, Overwritten}
	case e.OurNode && (e.Record == OwnFile || e.Record == NoRecord):
		// This file wrote the tip, and does not remember. It may be older than that now.
		return compared(e, Verdict{Continue, Forgotten}, HistoryLost)
	case e.isBehind() && e.Adopt == AdoptEqual:
		// What came after may hold no page, as the file of a claim.
		return compared(e, Verdict{Claim, Adopted}, Behind)
	case e.isBehind():
		return Verdict{Halt, Behind}
	case e.Adopt == AdoptEqual:
		return compared(e, Verdict{Claim, Adopted}, Diverged)
	}
	return Verdict{Halt, Diverged}
}

// isBehind reports whether the replica has gone on from the database, which has nothing of
// its own.
func (e Evidence) isBehind() bool {
	return e.Tip == TipFollows && e.Record == OwnFile && e.Proof == Proven && !e.OwnChanges
}

// judgeMarked judges a database whose state file names the tip.
func judgeMarked(e Evidence) Verdict {
	switch {
	case e.Record == Moved && e.Adopt != AdoptNever:
		return overwritable(e, compared(e, Verdict{Claim, WasMoved}, Diverged))
	case e.Record != OwnFile && e.Adopt == AdoptEqual:
		return overwritable(e, compared(e, Verdict{Claim, Adopted}, Diverged))
	case e.Record != OwnFile:
		return overwritable(e, Verdict{Halt, Copy})
	case e.Rewound:
		return Verdict{Resync, Rewind}
	case e.Proof == DiskLost:
		return overwritable(e, compared(e, Verdict{Resync, NothingLost}, LostCommits))
	case e.Proof == Unproven:
		return Verdict{Resync, NotProven}
	case e.Restored:
		return Verdict{Claim, WasRestored}
	}
	return Verdict{Continue, Known}
}

// overwritable has diverged=overwrite spare a comparison or a halt.
func overwritable(e Evidence, v Verdict) Verdict {
	if e.Overwrite && (v.Action == Halt || v.Action == Compare) {
		return Verdict{Resync, Overwritten}
	}
	return v
}

// compared is a verdict that depends on the content.
func compared(e Evidence, equal Verdict, otherwise Why) Verdict {
	switch e.Content {
	case Uncompared:
		return Verdict{Compare, equal.Why}
	case Equal:
		return equal
	}
	return Verdict{Halt, otherwise}
}
