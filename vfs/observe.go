package vfs

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"github.com/walvfs/walvfs/shipper"
)

// An EventListener is called with each event of the database at path, one event of a
// database after another. Replication does not wait for it, so it may use the database.
// It must return soon: while it blocks, events are queued, and then dropped.
type EventListener func(path string, e shipper.Event)

var listeners struct {
	mu   sync.Mutex
	list atomic.Pointer[[]*EventListener]
}

// Listen calls a listener with the events of all databases of this process, until stop is
// called.
func Listen(l EventListener) (stop func()) {
	listeners.mu.Lock()
	defer listeners.mu.Unlock()
	added := &l
	list := append(current(), added)
	listeners.list.Store(&list)
	return func() {
		listeners.mu.Lock()
		defer listeners.mu.Unlock()
		var rest []*EventListener
		for _, l := range current() {
			if l != added {
				rest = append(rest, l)
			}
		}
		listeners.list.Store(&rest)
	}
}

// current returns a copy of the listeners.
func current() []*EventListener {
	if list := listeners.list.Load(); list != nil {
		return append([]*EventListener(nil), *list...)
	}
	return nil
}

func (d *database) emit(e shipper.Event) {
	if d.events == nil && listeners.list.Load() == nil {
		return
	}
	d.calls.add(func() {
		if d.events != nil {
			d.events(d.path, e)
		}
		if list := listeners.list.Load(); list != nil {
			for _, l := range *list {
				(*l)(d.path, e)
			}
		}
	})
}

// Shutdown ships all commits until now of every database that is open in this process,
// for a server that is about to end: then the last closes need not wait. It returns when
// all replicas have these commits, or, when ctx ends, with an error for each replica that
// lacks some. It closes nothing.
func Shutdown(ctx context.Context) error {
	open := Databases()
	errs := make([]error, len(open))
	var group errgroup.Group
	for i, db := range open {
		d := db.d
		group.Go(func() error {
			if d.nothingToShip() || d.allShipped() {
				return nil
			}
			if err := db.Flush(ctx); err != nil {
				errs[i] = fmt.Errorf("walvfs: %s: %w", d.path, err)
			}
			return nil
		})
	}
	group.Wait()
	return errors.Join(errs...)
}
