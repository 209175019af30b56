package ledger

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"time"

	"github.com/walvfs/walvfs/format"
	"github.com/walvfs/walvfs/internal/statefile"
	"github.com/walvfs/walvfs/shipper"
	"github.com/walvfs/walvfs/vfs/internal/continuity"
	"github.com/walvfs/walvfs/vfs/internal/wal"
)

// An Inspection is the information that the state file and the files of a database give,
// before any connection writes to them.
type Inspection struct {
	Found  wal.Found
	Record continuity.Record
	Proof  continuity.Proof
	Why    error // why Proof is not [continuity.Proven], nil if it is
	Err    error // why the state file is unreadable, nil if it can be read or does not exist

	Restored, Rewound bool
	OwnChanges        bool // the database has, or may have, commits that the newest file of the state file lacks

	path   string
	lacked []statefile.Mark // intents whose end the WAL does not reach
	id     statefile.FileID
	side   statefile.Record
	at     place
}

// A place is a frame of an epoch, after which scanning continues.
type place struct {
	epoch    format.Salt
	scanned  uint32
	checksum [2]uint32
}

// Inspect reads the state file and the files of a database, and writes nothing.
func Inspect(path, replica string) (i Inspection, err error) {
	i = Inspection{path: path, OwnChanges: true}
	if i.id, err = statefile.Identify(path); err != nil {
		return i, err
	}
	i.Found = wal.Look(path)
	i.side, i.Err = statefile.Load(path)
	if errors.Is(i.Err, fs.ErrNotExist) {
		i.Err = nil
	} else if i.Err == nil {
		i.Record = i.whose(replica)
	}
	if i.Record == continuity.NoRecord {
		i.side = statefile.Record{}
	}
	for _, intent := range i.side.Intents {
		if i.lacks(intent) {
			i.lacked = append(i.lacked, intent)
		}
	}
	i.side.Intents = slices.DeleteFunc(i.side.Intents, i.lacks)
	i.Restored, i.Rewound = i.side.Restored, i.side.Rewind
	i.at, i.Proof, i.Why = i.prove()
	i.OwnChanges = i.Proof != continuity.Proven || !i.allAcked() && !(len(i.lacked) > 0 && i.LostNothingElse())
	return i, nil
}

// whose returns which file the state file belongs to. After a database was deleted and
// created again, its old state file may name the new file's inode.
func (i *Inspection) whose(replica string) continuity.Record {
	switch {
	case i.side.Replica != replica || i.Found.Size == 0:
		return continuity.NoRecord
	case i.side.File == i.id:
		return continuity.OwnFile
	case i.side.Machine != "" && i.side.Machine == statefile.MachineID() && isGone(i.side.Path, i.side.File):
		return continuity.Moved
	}
	return continuity.Copied
}

// lacks reports whether the WAL ends before the end of an intended upload. If the disk
// keeps what it called durable, the upload did not begin. Otherwise, the file must not
// pass for the content of this database.
func (i *Inspection) lacks(intent statefile.Mark) bool {
	f := i.Found
	if f.Err != nil || intent.End.Number == 0 || intent.Epoch != f.WAL.Salt {
		return false // another WAL does not show it
	}
	if f.Last < intent.End.Number {
		return true
	}
	sum, err := wal.FrameChecksum(i.path, f.WAL, intent.End.Number)
	return err == nil && sum != intent.End.Checksum
}

// isGone reports whether a file is provably no longer at its path.
func isGone(path string, file statefile.FileID) bool {
	if path == "" {
		return false
	}
	now, err := statefile.Identify(path)
	return errors.Is(err, fs.ErrNotExist) || err == nil && now != file
}

// The errors of prove.
var (
	errUnproven = errors.New("continuity with the last run is not proven")
	errDiskLost = errors.New("the disk has lost commits that the replica may have")
)

// prove finds the place from which scanning continues, if the WAL and the database file
// prove that the database has no changes besides those in the WAL.
func (i *Inspection) prove() (place, continuity.Proof, error) {
	at, err := i.tryProve()
	switch {
	case err == nil:
		return at, continuity.Proven, nil
	case errors.Is(err, errDiskLost):
		return at, continuity.DiskLost, err
	}
	return at, continuity.Unproven, fmt.Errorf("%w: %w", errUnproven, err)
}

func (i *Inspection) tryProve() (at place, err error) {
	s := i.side.State
	switch {
	case i.Record != continuity.OwnFile:
		return at, errors.New("there is no state file of this database")
	case i.side.DiskLost:
		return at, errDiskLost
	case s == nil:
		return at, errors.New("the state file has no state")
	case s.Unsynced && (s.Closed == nil || !i.Found.WAL.Salt.IsZero()):
		// The WAL may have been emptied, and this may have been lost: then the database
		// file may have pages that no WAL shows any more.
		return at, errors.New("synchronous was off")
	case i.Found.Err != nil:
		return at, i.Found.Err
	}
	if _, err := s.Pages(); err != nil {
		return at, err
	}
	if at, err = i.proveWAL(s); err == nil && s.Floor == 0 {
		err = errors.New("an earlier run could not prove continuity either, and did not upload the database")
	}
	return at, err
}

// proveWAL compares a state with the files.
func (i *Inspection) proveWAL(s *statefile.State) (at place, err error) {
	f := i.Found
	switch f.WAL.Salt {
	case format.Salt{}:
		return at, i.proveClosed(s)
	case s.Previous:
		// The announced reset has not happened. Frames scanned beyond the last commit
		// will be overwritten.
		at = place{epoch: s.Previous, scanned: min(s.PreviousScanned, f.Last)}
	case s.Epoch:
		at = place{epoch: s.Epoch, scanned: s.Scanned}
	default:
		return at, wal.ErrReset
	}
	if at.scanned == 0 {
		return at, nil
	}
	if at.checksum, err = wal.FrameChecksum(i.path, f.WAL, at.scanned); err != nil {
		return at, err
	}
	// All that the replica has was synced first: it is in the WAL, or the disk lost it. A
	// frame's checksum covers all frames before it.
	if at.epoch == s.Epoch && (f.Last < s.Scanned || at.checksum != s.Checksum) {
		return at, errDiskLost
	}
	return at, nil
}

// proveClosed compares a state with a database file without a WAL.
func (i *Inspection) proveClosed(s *statefile.State) error {
	now := time.Now()
	info, err := os.Stat(i.path)
	switch {
	case err != nil:
		return err
	case s.Closed == nil:
		return errors.New("the WAL is gone")
	case !s.Closed.Equal(statefile.ClosedAs(info, now)):
		return errors.New("another program wrote to the database")
	case !s.Closed.Settled:
		return errors.New("another program may have written to the database at the moment when it was closed")
	}
	return nil
}

// allAcked reports whether the replica has acknowledged every commit.
func (i *Inspection) allAcked() bool {
	s := i.side.State
	if s == nil {
		return false
	}
	return s.Floor > 0 && len(s.Dirty) == 0 && len(i.side.Intents) == 0 && i.at.epoch == i.Found.WAL.Salt && i.at.scanned >= i.Found.Last
}

// Acked returns the position of the newest file that the replica is known to have, zero
// for none.
func (i *Inspection) Acked() shipper.Position {
	if i.side.Acked == nil {
		return shipper.Position{}
	}
	return shipper.Position{TXID: i.side.Acked.TXID, Checksum: i.side.Acked.Checksum}
}

// Names reports whether the state file names a file of the replica. If the disk has lost
// commits, this includes a file whose upload the WAL does not show any more.
func (i *Inspection) Names(pos shipper.Position) bool {
	return find(&i.side, pos) != nil || i.Proof == continuity.DiskLost && find(&statefile.Record{Intents: i.lacked}, pos) != nil
}

// LostNothingElse reports, for a disk that has lost commits, whether the WAL ends with a
// commit at which a file of the replica was cut: then the replica has everything in the
// WAL. A commit between two cuts looks like a commit made after the loss.
func (i *Inspection) LostNothingElse() bool {
	s, f := i.side.State, i.Found
	if s == nil || i.side.DiskLost {
		return false
	}
	if f.Last == 0 {
		return s.Scanned > 0 && f.WAL.Salt == s.Epoch
	}
	sum, err := wal.FrameChecksum(i.path, f.WAL, f.Last)
	return err == nil && slices.Contains(s.Trail, statefile.Frame{Number: f.Last, Checksum: sum})
}

// NoteLoss makes the state file name an older file that holds the remaining commits,
// instead of the file that holds the lost commits: if a replacement is interrupted,
// nothing else may show the loss. Without such a file, it notes that commits were lost.
func (i *Inspection) NoteLoss(left shipper.Position) error {
	r := i.side
	r.Intents, r.State = nil, nil
	if r.DiskLost = left.TXID == 0; !r.DiskLost {
		r.Acked = &statefile.Mark{TXID: left.TXID, Checksum: left.Checksum}
	}
	return r.Save(i.path)
}

// Same reports whether an earlier inspection found the same. If it was settled, no
// program wrote to the database in between.
func (i *Inspection) Same(as Inspection) bool {
	as.Found.Settled = i.Found.Settled
	return i.Found.Err == nil && i.Found == as.Found && i.Record == as.Record && i.Proof == as.Proof && i.OwnChanges == as.OwnChanges &&
		i.Acked() == as.Acked() && i.Restored == as.Restored && i.Rewound == as.Rewound
}
