package vfs

import (
	"errors"
	"time"
)

// errLocked: two processes that replicate one database would both write its next
// TXID.
var errLocked = errors.New("another process replicates this database")

// lockGrace is how long a lock is waited for even without lock_timeout. Where a program
// starts another one, that has the program's files open for a moment, between fork and
// exec, and with them the locks of databases that the program has just closed.
const lockGrace = 100 * time.Millisecond

// lockUntil is when waiting for a lock ends that is wanted now.
func (s settings) lockUntil() time.Time { return time.Now().Add(max(s.lockTimeout, lockGrace)) }

// lockPoll is how often the lock is tried while lock_timeout lasts.
const lockPoll = 20 * time.Millisecond
