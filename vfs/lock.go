package vfs

import (
	"errors"
	"time"
)

// errLocked: two processes that replicate one database would both write its next
// TXID.
var errLocked = errors.New("another process replicates this database")

// lockUntil returns when a wait for a lock ends that begins now.
func (s settings) lockUntil() time.Time { return time.Now().Add(s.lockTimeout) }

// lockPoll is the time between two tries to lock a database within lock_timeout.
const lockPoll = 20 * time.Millisecond
