package format

import (
	"errors"
	"fmt"
	"slices"
	"time"
)

// ErrNoFiles means that a replica has no LTX file.
var ErrNoFiles = errors.New("the replica has no LTX files")

// GapError says that a restore cannot continue because a TXID is in no file.
type GapError struct {
	Target  TXID     // the TXID to restore
	Missing TXID     // first TXID that is in no file
	After   FileInfo // last good file, whose MaxTXID can be restored; zero if none can
	Next    FileInfo // first file beyond the gap
}

func (e *GapError) Error() string {
	if e.After.MaxTXID == 0 {
		return fmt.Sprintf("TXID %s is missing: the oldest file is %s, and nothing holds the database before it", e.Missing, e.Next)
	}
	return fmt.Sprintf("TXID %s is missing between the files %s and %s: TXID %s can be restored instead",
		e.Missing, e.After, e.Next, e.After.MaxTXID)
}

// NotReachableError says that a replica cannot be restored to exactly this TXID: it is
// beyond the newest TXID, or only inside a file that ends after it, because its own file
// was removed after compaction or a snapshot.
type NotReachableError struct {
	Target TXID // the TXID to restore
	Before TXID // the nearest restorable TXID before it, 0 if none
	After  TXID // the nearest restorable TXID after it, 0 if Target is beyond Newest
	Newest TXID // the newest TXID in the replica
}

func (e *NotReachableError) Error() string {
	if e.Target > e.Newest {
		return fmt.Sprintf("TXID %s is beyond the newest one, %s", e.Target, e.Newest)
	}
	if e.Before == 0 {
		return fmt.Sprintf("TXID %s is older than anything that can be restored: the oldest is %s", e.Target, e.After)
	}
	return fmt.Sprintf("no file ends at TXID %s any more: the nearest that can be restored are %s and %s", e.Target, e.Before, e.After)
}

// TooEarlyError says that a time is before the oldest state that a replica can be
// restored to.
type TooEarlyError struct {
	Time     time.Time // the requested time
	Earliest TXID      // the oldest restorable TXID
	At       time.Time // the time of Earliest
}

func (e *TooEarlyError) Error() string {
	return fmt.Sprintf("%s is before the oldest state that can be restored: TXID %s of %s",
		e.Time.UTC().Format(time.RFC3339Nano), e.Earliest, e.At.UTC().Format(time.RFC3339Nano))
}

// notReachable explains why no plan ends at target. After is the file where the chain
// broke off, zero if none starts it; files are sorted by MinTXID.
func notReachable(files []FileInfo, target TXID, after FileInfo) error {
	newest := newestTXID(files)
	if target <= newest {
		missing := after.MaxTXID + 1
		i := slices.IndexFunc(files, func(f FileInfo) bool { return f.MaxTXID >= missing })
		if next := files[i]; next.MinTXID > missing {
			return &GapError{Target: target, Missing: missing, After: after, Next: next}
		}
	}
	e := &NotReachableError{Target: target, Newest: newest}
	for _, t := range Restorable(files) {
		if t > target {
			e.After = t
			break
		}
		e.Before = t
	}
	return e
}
