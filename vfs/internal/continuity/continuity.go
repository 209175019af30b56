// Package continuity decides whether a database may continue a replica.
//
// Content can prove that a database equals a replica. It cannot prove that the database
// may continue the replica: a clone on another machine equals it, too, and would fence
// the application that it was cloned from. So [Judge] asks three questions whenever a
// program opens, restores, pushes or adopts a database:
//
//	who     is this the file that wrote the replica's newest file?    Evidence.Record
//	what    does it hold what that file holds?                        Evidence.Proof, Content
//	may it  what did its user allow?                                  Evidence.Adopt, Restore, Overwrite
//
// Judge is a pure function. Evidence that costs a request or a download is gathered when
// Judge asks for it: [AskReplica], [Compare].
package continuity

// Evidence is the knowledge about a database and its replica.
type Evidence struct {
	Exists bool   // the database exists: a file of 0 bytes without a log does not count
	Record Record // the owner of the state file next to it
	Proof  Proof  // the proof that the state file and the files give

	Restored   bool // by walvfs, and not opened since
	Rewound    bool // restored to an older moment, to continue from there
	OwnChanges bool // the database has, or may have, commits that the file of its mark lacks

	Tip     Tip
	OurNode bool // this file wrote the tip, by its node ID
	Content Content

	Adopt     Adopt
	Restore   Restore
	Overwrite bool // diverged=overwrite
}

// A Record says which database file the state file belongs to.
type Record int

// The records.
const (
	NoRecord Record = iota // the state file does not exist, is unreadable, or names another replica
	OwnFile                // it belongs to this file
	Moved                  // it belongs to another file of this machine, which has left its old path
	Copied                 // it belongs to another file, which may still be in use
)

// A Proof says what the state file and the database's files prove.
type Proof int

// The proofs.
const (
	Unproven Proof = iota // any page may differ from the file of the mark
	Proven                // the pages that differ are known
	DiskLost              // the disk has lost commits that the replica may have
)

// A Tip says how the replica's newest file relates to this database.
type Tip int

// The tips.
const (
	TipUnknown   Tip = iota // the tip has not been read
	TipNone                 // the replica has no files
	TipMarked               // the state file names the tip
	TipFollows              // the state file names an older file that the tip follows
	TipHoldsLoss            // the state file names the tip, which holds the commits that the disk has lost
	TipForeign              // the state file names no file that leads to the tip
)

// Content is the outcome of comparing the database, as it was opened, with the tip.
type Content int

// The outcomes.
const (
	Uncompared Content = iota
	Equal              // page for page, at the boundary at which it was opened, or at an earlier boundary of its WAL
	Different          // or it has changed too much since it was opened to find out
)

// Adopt is the user's choice for databases that equal the tip, but are not known to be
// the database that wrote it.
type Adopt int

// The choices. The zero value is the default.
const (
	AdoptMoved Adopt = iota // a moved file continues, a copied file does not
	AdoptEqual              // any file continues
	AdoptNever              // no file continues
)

// Restore is the user's choice whether the replica replaces a database before it is
// opened.
type Restore int

// The choices. The zero value is the default.
const (
	RestoreNever Restore = iota
	RestoreIfMissing
	RestoreIfBehind
)

// An Action is the next step.
type Action int

// The actions.
const (
	Open       Action = iota // leave the database unchanged
	AskReplica               // ask the replica for its tip, and judge again
	Compare                  // compare the content with the tip, and judge again
	Replace                  // replace the database by the replica's newest state
	Begin                    // begin a new log: the whole database as TXID 1
	Continue                 // the next file holds the changes
	Claim                    // as Continue, but at once, even without changes: it fences an older writer
	Resync                   // the next file holds the whole database
	Halt                     // replicate nothing: only an operator can decide which data is right
)

// A Verdict is an action and its reason.
type Verdict struct {
	Action Action
	Why    Why
}

// BeforeOpen judges whether the replica replaces a database before SQLite opens it. The
// action is [Open], [AskReplica], [Replace], or [Compare]: here with the file that the
// state file names, which is older than the tip.
func BeforeOpen(e Evidence) Verdict {
	switch {
	case e.Restore == RestoreNever, e.Exists && e.Restore != RestoreIfBehind:
		return Verdict{Open, NotAsked}
	case !e.Exists:
		return replaceable(e, e.Tip != TipNone, Missing)
	case e.Record != OwnFile:
		return Verdict{Open, NotAsked} // the state of the replica is unknown
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

// Judge judges whether an open database may continue its replica, whose tip must be
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
		// This file wrote the tip, but does not remember it. Its content may be older
		// now.
		return compared(e, Verdict{Continue, Forgotten}, HistoryLost)
	case e.isBehind() && e.Adopt == AdoptEqual:
		// Later files may hold no page, as the file of a claim.
		return compared(e, Verdict{Claim, Adopted}, Behind)
	case e.isBehind():
		return Verdict{Halt, Behind}
	case e.Adopt == AdoptEqual:
		return compared(e, Verdict{Claim, Adopted}, Diverged)
	}
	return Verdict{Halt, Diverged}
}

// isBehind reports whether the replica has continued from the database's state, and the
// database has no commits of its own.
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

// overwritable turns a comparison or a halt into a resync if diverged=overwrite.
func overwritable(e Evidence, v Verdict) Verdict {
	if e.Overwrite && (v.Action == Halt || v.Action == Compare) {
		return Verdict{Resync, Overwritten}
	}
	return v
}

// compared returns a verdict that depends on the content.
func compared(e Evidence, equal Verdict, otherwise Why) Verdict {
	switch e.Content {
	case Uncompared:
		return Verdict{Compare, equal.Why}
	case Equal:
		return equal
	}
	return Verdict{Halt, otherwise}
}
