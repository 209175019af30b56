package shipping

import (
	"runtime"
	"sync"
)

// SetLarge changes the size from which on a file with every page is not compacted, and
// returns a function that undoes the change.
func SetLarge(size int64) (undo func()) {
	old := large
	large = size
	return func() { large = old }
}

// EncodersFree reports whether no encoder is taken.
func EncodersFree() bool {
	free := encoders.TryAcquire(mostEncoders)
	if free {
		encoders.Release(mostEncoders)
	}
	return free
}

// HeldLocks returns the names of the locks that it fails to acquire in many tries: where
// time is synthetic, it stands still while a goroutine waits for a lock. The tries take
// some seconds, for the system may stop a thread while it holds a lock.
func (s *Shipper) HeldLocks() (held []string) {
	for name, mu := range map[string]*sync.Mutex{"shipper.mu": &s.mu, "levels.mu": &s.levels.mu, "queue.mu": &s.queue.mu, "lag.mu": &s.lag.mu} {
		tries := 20_000_000
		for ; tries > 0 && !mu.TryLock(); tries-- {
			runtime.Gosched()
		}
		if tries == 0 {
			held = append(held, name)
		} else {
			mu.Unlock()
		}
	}
	return held
}
