package vfs

import (
	"errors"
	"time"
)

// errLocked: two processes that replicate one database would both write its next
// TXID.
var errLocked = errors.New("another process replicates this database")

// lockUntil is when waiting for a lock ends that is wanted now.
func (s settings) lockUntil() time.Time { return time.Now().Add(s.lockTimeout) }

// lockPoll is how often the lock is tried while lock_timeout lasts.
const lockPoll = 20 * time.Millisecond
