package shipping

import (
	"sync/atomic"
	"testing"
)

// No reader sees a lag of 0 while a commit is unacknowledged, at any moment of the
// commit's way into a cut and back.
func TestLagHasNoGap(t *testing.T) {
	var l lag
	var done atomic.Bool
	l.note()
	zeros := make(chan int)
	go func() {
		n := 0
		for !done.Load() {
			if l.age() == 0 {
				n++
			}
		}
		zeros <- n
	}()
	for range 200_000 {
		l.take()
		l.note()
		l.found()
		l.putBack()
	}
	done.Store(true)
	if n := <-zeros; n > 0 {
		t.Errorf("the lag was 0 at %d looks", n)
	}
	before := l.waiting.Load()
	l.take()
	l.note()
	l.putBack()
	if got := l.waiting.Load(); got != before {
		t.Errorf("the oldest commit was at %d, and now at %d", before, got)
	}
	l.take()
	l.acknowledged()
	if age := l.age(); age != 0 {
		t.Errorf("all is acknowledged, the lag is %s", age)
	}
}
