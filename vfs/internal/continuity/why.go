package continuity

// Why is the reason for a verdict.
type Why int

// The reasons.
const (
	NotAsked     Why = iota
	Known            // the state file proves everything
	WasRestored      // by walvfs, from this replica
	Rewind           // restored to an older moment, and continues from it
	WasMoved         // the file that wrote the replica was moved here
	Adopted          // equal to the replica, and the user allows it
	Forgotten        // this file wrote the tip and equals it, and its state file is lost
	NotProven        // the state file names the tip, but proves no more
	NothingLost      // the disk lost commits, but none that the replica has
	EmptyReplica     // the replica has no files
	Overwritten      // diverged=overwrite
	Missing          // the database does not exist
	Behind           // the replica has continued from the database's state
	LostCommits      // the disk has lost commits that the replica has
	HistoryLost      // this file wrote the tip, and does not hold it
	Copy             // of the file that wrote the replica
	Diverged         // the replica holds another history
)

// String returns the reason as a clause without a subject or a full stop.
func (w Why) String() string {
	return [...]string{
		NotAsked:     "nothing asks for it",
		Known:        "the state file proves what the replica has",
		WasRestored:  "the database was restored from this replica",
		Rewind:       "the database was restored to an older moment with --rewind",
		WasMoved:     "the database was moved, and equals the replica",
		Adopted:      "the database equals the replica, and adopt=equal",
		Forgotten:    "the state file does not name the replica's newest file, but the database holds it",
		NotProven:    "the state file does not prove what has changed",
		NothingLost:  "the disk has lost commits, but none that the replica has",
		EmptyReplica: "the replica is empty",
		Overwritten:  "diverged=overwrite",
		Missing:      "there is no database",
		Behind:       "the replica has gone on from what this database holds",
		LostCommits:  "the disk has lost commits that the replica has",
		HistoryLost:  "this database wrote the replica's newest file and does not hold it any more, or changed too much since it was opened to tell",
		Copy:         "this file is a copy of the database that wrote the replica",
		Diverged:     "the replica holds another history than this database",
	}[w]
}
