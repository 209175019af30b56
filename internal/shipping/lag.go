package shipping

import (
	"sync"
	"sync/atomic"
	"time"
)

// lag measures how long the replica has lacked a commit. A commit waits for a cut, or is
// in the cut under way until the replica acknowledges it. There is no moment in between
// at which it is in neither.
type lag struct {
	waiting atomic.Int64 // sinceStart of the oldest commit that no cut has taken, 0 for none

	mu       sync.Mutex // held while a commit moves between waiting and inFlight
	inFlight int64      // sinceStart of the oldest commit in the cut under way, 0 for none
}

// note notes a commit. It does not block.
func (l *lag) note() {
	if l.waiting.Load() == 0 {
		l.waiting.CompareAndSwap(0, sinceStart())
	}
}

// take moves the waiting commits to the cut that is about to begin.
func (l *lag) take() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.inFlight = l.waiting.Swap(0)
}

// found notes that the cut holds changes. If another process committed them, their age is
// counted from now.
func (l *lag) found() (oldest int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.inFlight == 0 {
		l.inFlight = sinceStart()
	}
	return l.inFlight
}

// putBack ends a cut that the replica does not have.
func (l *lag) putBack() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for l.inFlight != 0 {
		oldest := l.waiting.Load()
		if oldest != 0 && oldest <= l.inFlight || l.waiting.CompareAndSwap(oldest, l.inFlight) {
			l.inFlight = 0
		}
	}
}

// acknowledged ends a cut that the replica has, or that held nothing.
func (l *lag) acknowledged() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.inFlight = 0
}

// age returns the age of the oldest commit that the replica lacks, 0 if there is none.
func (l *lag) age() time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	oldest := l.inFlight
	if oldest == 0 {
		oldest = l.waiting.Load()
	}
	if oldest == 0 {
		return 0
	}
	return max(1, time.Duration(sinceStart()-oldest))
}
