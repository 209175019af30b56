package vfs

import (
	"fmt"
	"time"
)

// Off is the duration that turns an option's limit off: no least time between uploads, no
// limit to a wait.
const Off time.Duration = -1

// A Durability says when a commit returns. Its values and those of the other options are
// spelled as in a URI.
type Durability int

const (
	// DurabilityAsync makes a commit return when SQLite has it.
	DurabilityAsync Durability = iota

	// DurabilitySync makes a commit return when the replica has it, too.
	DurabilitySync
)

// String returns the value of the URI parameter.
func (d Durability) String() string { return spelled(d, "async", "sync") }

// Restore says whether a database is restored from its replica before it is opened.
type Restore int

const (
	// RestoreNever opens the database without a restore.
	RestoreNever Restore = iota

	// RestoreIfMissing restores a database that does not exist, which takes as long as
	// the download. The database starts empty only if a listing proves that the replica
	// has nothing to restore.
	RestoreIfMissing

	// RestoreIfBehind is RestoreIfMissing, and also restores a database without commits of
	// its own whose replica is ahead: another machine took over meanwhile, or the disk
	// lost commits. Opening such a database sends requests to the store, and fails if the
	// store does not answer. The replaced database is kept next to it, as
	// "-walvfs-behind". If retention removed the last file that both share, the open
	// assumes that the replica is this database's.
	RestoreIfBehind
)

// String returns the value of the URI parameter.
func (r Restore) String() string { return spelled(r, "never", "if-missing", "if-behind") }

// Adopt says which database, other than the file that wrote a replica, may continue it.
type Adopt int

const (
	// AdoptMoved lets a database file that was moved continue the replica.
	AdoptMoved Adopt = iota

	// AdoptEqual lets any database that equals the replica's newest state page for page
	// continue it: a copy, a database on another machine, a database that Litestream
	// replicated. An original that still runs is fenced.
	AdoptEqual

	// AdoptNever lets only the file that wrote the replica continue it.
	AdoptNever
)

// String returns the value of the URI parameter.
func (a Adopt) String() string { return spelled(a, "moved", "equal", "never") }

// Diverged says what to do if the replica holds another history.
type Diverged int

const (
	// DivergedHalt stops replication.
	DivergedHalt Diverged = iota

	// DivergedOverwrite makes this database the replica's newest state.
	DivergedOverwrite
)

// String returns the value of the URI parameter.
func (d Diverged) String() string { return spelled(d, "halt", "overwrite") }

// OnFenced says what to do when another writer owns the replica.
type OnFenced int

const (
	// OnFencedContinue lets the application continue to write, without a replica.
	OnFencedContinue OnFenced = iota

	// OnFencedReadonly refuses writes with [ErrFenced].
	OnFencedReadonly
)

// String returns the value of the URI parameter.
func (o OnFenced) String() string { return spelled(o, "continue", "readonly") }

// Fencing says whether a store must support put-if-absent.
type Fencing int

const (
	// FencingOn refuses a store without put-if-absent.
	FencingOn Fencing = iota

	// FencingOff accepts such a store: nothing stops two writers from mixing their
	// histories.
	FencingOff
)

// String returns the value of the URI parameter.
func (f Fencing) String() string { return spelled(f, "on", "off") }

// spelled returns the spelling of a value.
func spelled[T ~int](value T, spellings ...string) string {
	if value < 0 || int(value) >= len(spellings) {
		return fmt.Sprintf("%T(%d)", value, int(value))
	}
	return spellings[value]
}
