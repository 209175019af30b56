package vfs

import (
	"context"
	"sync"
	"time"
)

// HeldLocks returns the names of this package's locks that cannot be acquired within a
// duration.
func HeldLocks(path string, within time.Duration) (held []string) {
	free := func(name string, mu *sync.Mutex) bool {
		for deadline := time.Now().Add(within); !mu.TryLock(); time.Sleep(time.Millisecond) {
			if time.Now().After(deadline) {
				held = append(held, name)
				return false
			}
		}
		mu.Unlock()
		return true
	}
	if !free("registry.mu", &databases.mu) {
		return held
	}
	d := databases.find(path)
	if d == nil {
		return held
	}
	free("database.connMu", &d.connMu)
	// These locks are private: call methods that need them.
	answers := func(name string, ask func()) {
		done := make(chan struct{})
		go func() {
			ask()
			close(done)
		}()
		select {
		case <-done:
		case <-time.After(within):
			held = append(held, name)
		}
	}
	answers("ledger.mu", func() { d.ledger.Clean() })
	answers("shipper.mu", func() { d.ship.Tip(); d.ship.Status() })
	return held
}

// flushPath calls [DB.Flush] of the database at a path.
func flushPath(ctx context.Context, path string) error {
	db, err := Lookup(path)
	if err != nil {
		return err
	}
	return db.Flush(ctx)
}

// HasConn reports whether replication has a connection to a database.
func HasConn(path string) bool {
	d := databases.find(path)
	d.connMu.Lock()
	defer d.connMu.Unlock()
	return d.conn != nil
}

// Rest makes replication release what it can open again.
func Rest(path string) { databases.find(path).Rest() }

// Refs returns the number of the application's open connections to a database.
func Refs(path string) int {
	d := databases.find(path)
	databases.mu.Lock()
	defer databases.mu.Unlock()
	return d.refs
}

// SetSliceTime changes how long a slice of a copy takes, and returns a function that
// undoes the change. With 0, a slice copies as little as it can.
func SetSliceTime(d time.Duration) (undo func()) {
	old := sliceTime
	sliceTime = d
	return func() { sliceTime = old }
}

// SetLargeCut changes the size in bytes up to which a cut reads its pages under its mark,
// and returns a function that undoes the change. With 0, every cut is copied first.
func SetLargeCut(size int64) (undo func()) {
	old := largeCut
	largeCut = size
	return func() { largeCut = old }
}

// Wake wakes replication.
func Wake(path string) { databases.find(path).wake() }
