// Package shipper holds the types that describe replication: its state and jobs, its
// events and errors, and the policy by which walvfs makes and keeps files. Package vfs
// returns these types. The packages below this one read a bucket: replica, restore,
// verify, and the stores in storage.
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
	Retrying  State = "retrying"  // the store is failing
	Halted    State = "halted"    // shipping has stopped; Err says why
)

// Status describes the replication of a database.
type Status struct {
	Path    string // of the database
	Replica string // its replica's URL, without secrets

	State State
	Tip   Position // the newest acknowledged file
	Err   error    // why the shipper is retrying or halted

	Lag        time.Duration // age of the oldest commit not acknowledged, 0 if all are
	LagCommits int64         // commits not acknowledged, of those since the database was opened
	LagPages   int64         // dirty pages: the next file holds about as many
	LagBytes   int64         // of these pages

	Sending Transfer // the level 0 file being uploaded, zero if none

	// Since the database was opened:
	Uploads  int64 // acknowledged files
	Bytes    int64 // in them
	Requests Requests
	Failures int64 // of requests and cuts

	// Jobs are the independent jobs, level 0 first. Commits wait for none of the jobs after it.
	Jobs []Job

	// LevelsErr is the error of the other jobs: why a file of a level or a deletion is
	// delayed, or that files of the replica have vanished and no snapshot replaces them yet;
	// nil without an error.
	LevelsErr error

	Unfenced bool // the user chose that another writer would go unnoticed
}

// A Transfer is the progress of an upload, in bytes.
type Transfer struct{ Bytes, Total int64 }

// Position identifies a level 0 file of the replica: its TXID and the checksum
// in its trailer, which covers its header, its time included.
type Position struct {
	TXID     format.TXID
	Checksum format.Checksum
	Time     time.Time
}

// Requests counts operations of a store. A large upload, listing or deletion counts once
// here, and may take several requests.
type Requests struct {
	Put    int64 `json:"put"`
	Get    int64 `json:"get"`
	List   int64 `json:"list"`
	Delete int64 `json:"delete"`
}

// A Job is an independent task of a shipper: level 0, a level, finding out what the
// levels lack, checking that the replica still has its files, or retention.
type Job struct {
	Name  string
	State JobState
	At    time.Time // when it runs next, zero if it is not waiting
	Err   error     // why it is retried, or was stopped; nil if the last attempt succeeded
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
	JobIdle     JobState = "idle"     // nothing to do
	JobWaiting  JobState = "waiting"  // something to do later
	JobRunning  JobState = "running"  // running now
	JobRetrying JobState = "retrying" // failed, will be retried
	JobStopped  JobState = "stopped"  // stopped for good: replication has halted, or the database was closed
)
