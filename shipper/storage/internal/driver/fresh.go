package driver

import (
	"sync"
	"time"
)

// Fresh is a value that is loaded from files or services, and loaded again when the
// store refuses what was made of it: credentials that somebody may replace in their
// file. The zero value of T with Load is ready for use.
type Fresh[T any] struct {
	Load func() (T, error)

	mu       sync.Mutex // guards the following
	value    T
	loaded   bool
	stale    bool
	reloaded time.Time // the last time that a refusal made it load
}

// calm is the least time between two loads after refusals: ten thousand stores that
// are refused share a value.
const calm = 5 * time.Second

// Get returns the value. A load that fails is tried again by the next Get.
func (f *Fresh[T]) Get() (T, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	again := f.loaded && f.stale && time.Since(f.reloaded) >= calm
	if f.loaded && !again {
		return f.value, nil
	}
	if again {
		f.reloaded = time.Now()
	}
	value, err := f.Load()
	if err != nil {
		f.loaded = false
		return value, err
	}
	f.value, f.loaded, f.stale = value, true, false
	return value, nil
}

// Refused has the next Get load the value again.
func (f *Fresh[T]) Refused() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.stale = true
}
