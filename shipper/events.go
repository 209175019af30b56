package shipper

import (
	"time"

	"github.com/walvfs/walvfs/format"
)

// An Event is something that happened to the replication of a database: one of the types
// below. The goroutine in which it happened calls the listener, which must return soon.
type Event interface{ event() }

// StateChanged reports a new state, and the error if replication fails.
type StateChanged struct {
	From, To State
	Err      error
}

// Encoded reports that a file was made from the database.
type Encoded struct {
	Level int
	Pages uint64
	Bytes int64
	Took  time.Duration
}

// Uploaded reports that the replica has a file.
type Uploaded struct {
	Level            int
	MinTXID, MaxTXID format.TXID
	Time             time.Time // of its newest commits, from the file's header
	Pages            uint64
	Bytes            int64
	Took             time.Duration // of the last attempt
	Lag              time.Duration // from the oldest commit in a level 0 file until now
}

// Failed reports that a request or a cut failed. It will be retried unless [StateChanged]
// reports otherwise.
type Failed struct {
	Kind string // see [ErrorKind]
	Err  error
}

// Deleted reports that retention has removed files from the replica.
type Deleted struct{ Files int }

// Resynced reports that walvfs uploads the whole database again, and why.
type Resynced struct{ Reason string }

// Confirmed reports that a commit which waited for the replica has returned.
type Confirmed struct {
	Took time.Duration
	Err  error // not nil if the commit is not known to be in the replica
}

func (StateChanged) event() {}
func (Encoded) event()      {}
func (Uploaded) event()     {}
func (Failed) event()       {}
func (Deleted) event()      {}
func (Resynced) event()     {}
func (Confirmed) event()    {}
