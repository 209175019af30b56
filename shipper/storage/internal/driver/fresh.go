package driver

import (
	"sync"
	"time"
)

// Fresh is a value loaded from files or services, and loaded again when the store refuses
// it: for example credentials whose file may be replaced. The zero value of T with Load
// is ready for use.
type Fresh[T any] struct {
	Load func() (T, error)

	mu       sync.Mutex // guards the following
	value    T
	loaded   bool
	stale    bool
	reloaded time.Time // last load after a refusal
}

// calm is the minimum time between two loads after refusals: ten thousand stores may be
// refused with the same value.
const calm = 5 * time.Second

// Get returns the value. If a load fails, the next Get tries again.
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

// Refused makes the next Get load the value again.
func (f *Fresh[T]) Refused() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.stale = true
}
