// Package shipper is how replication tells of itself: its state and its jobs, what happens,
// what ails it, and the policy by which files are made and kept. Package vfs returns these
// types. The packages beside it read what is in a bucket: replica, restore, verify, and the
// stores in storage.
package shipper

import (
	"time"

	"github.com/walvfs/walvfs/format"
)

// State says what a shipper is doing.
type State string

// The states of a shipper.
const (
	Starting  State = "starting"  // the replica's tip is not known yet
	Streaming State = "streaming" // commits reach the replica
	Retrying  State = "retrying"  // the store does not answer as it should
	Halted    State = "halted"    // nothing is shipped any more; Err says why
)

// Status is what is known of a database's replica.
type Status struct {
	Path    string // of the database
	Replica string // its URL, without secrets

	State State
	Tip   Position // the newest acknowledged file
	Err   error    // why it is retrying or halted

	Lag        time.Duration // age of the oldest commit that is not acknowledged, 0 if all are
	LagCommits int64         // that are not acknowledged, of those since the database was opened
	LagPages   int64         // that are dirty: the next file holds them, about
	LagBytes   int64         // of these pages

	Sending Transfer // the level 0 file that is being uploaded, zero if none is

	// Since the database was opened:
	Uploads  int64 // acknowledged files
	Bytes    int64 // in them
	Requests Requests
	Failures int64 // of requests and cuts

	// Jobs are what is done by itself, level 0 first. Commits wait for none of the
	// others.
	Jobs []Job

	// LevelsErr is what ails the others: why a file of a level or a deletion waits, or
	// that files of the replica have vanished which no snapshot replaces yet; nil for
	// nothing.
	LevelsErr error

	Unfenced bool // another writer would not be noticed, by the user's choice
}

// A Transfer is how far an upload is, in bytes.
type Transfer struct{ Bytes, Total int64 }

// Position identifies a level 0 file of the replica: its TXID and the checksum
// in its trailer, which covers its header, its time included.
type Position struct {
	TXID     format.TXID
	Checksum format.Checksum
	Time     time.Time
}

// Requests counts what was asked of a store. A large upload, listing or deletion is
// one here, and may be several on the wire.
type Requests struct {
	Put    int64 `json:"put"`
	Get    int64 `json:"get"`
	List   int64 `json:"list"`
	Delete int64 `json:"delete"`
}

// A Job is one of the things that a shipper does, each by itself: level 0, a level,
// finding out what the levels lack, looking after what the replica had, retention.
type Job struct {
	Name  string
	State JobState
	At    time.Time // when it runs next, zero if it does not wait
	Err   error     // why it is tried again, or was stopped; nil if the last try went well
}

// JobState says what a job is doing.
type JobState string

// The states of a job:
//
//	idle ─due─▶ waiting ─its time─▶ running ─done─▶ idle, or waiting if it is due again
//	                                  │  ▲
//	                               failed its time
//	                                  ▼  │
//	                                retrying
const (
	JobIdle     JobState = "idle"     // there is nothing to do
	JobWaiting  JobState = "waiting"  // there is, later
	JobRunning  JobState = "running"  // it is being done
	JobRetrying JobState = "retrying" // it failed, and is tried again later
	JobStopped  JobState = "stopped"  // for good: replication has halted, or the database was closed
)
