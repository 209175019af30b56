package shipper

import (
	"time"

	"github.com/walvfs/walvfs/format"
)

// An Event is something that happened to the replication of a database: one of the
// types below. Whoever is told of it is called by the goroutine that it happened in,
// and must return soon.
type Event interface{ event() }

// StateChanged tells that the state is another one, and why if something fails.
type StateChanged struct {
	From, To State
	Err      error
}

// Encoded tells that a file was made from the database.
type Encoded struct {
	Level int
	Pages uint64
	Bytes int64
	Took  time.Duration
}

// Uploaded tells that the replica has a file.
type Uploaded struct {
	Level            int
	MinTXID, MaxTXID format.TXID
	Time             time.Time // of its newest commits, as the file says
	Pages            uint64
	Bytes            int64
	Took             time.Duration // the last try
	Lag              time.Duration // from the oldest commit in a level 0 file until now
}

// Failed tells that a request or a cut failed, and will be tried again unless
// [StateChanged] tells otherwise.
type Failed struct {
	Kind string // see [ErrorKind]
	Err  error
}

// Deleted tells that retention has removed files from the replica.
type Deleted struct{ Files int }

// Resynced tells that the whole database is uploaded again, and why.
type Resynced struct{ Reason string }

// Confirmed tells that a commit which waited for the replica has returned.
type Confirmed struct {
	Took time.Duration
	Err  error // it is not known to be in the replica
}

func (StateChanged) event() {}
func (Encoded) event()      {}
func (Uploaded) event()     {}
func (Failed) event()       {}
func (Deleted) event()      {}
func (Resynced) event()     {}
func (Confirmed) event()    {}
