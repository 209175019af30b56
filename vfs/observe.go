package vfs

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"github.com/walvfs/walvfs/shipper"
)

// A Database is an open and replicated database.
type Database struct {
	Path    string
	Replica string // its URL, without secrets
	shipper.Status
}

// Databases returns all databases that are open and replicated in this process.
func Databases() []Database {
	databases.mu.Lock()
	all := make([]*database, 0, len(databases.byPath))
	for _, d := range databases.byPath {
		all = append(all, d)
	}
	databases.mu.Unlock()
	list := make([]Database, len(all))
	for i, d := range all {
		list[i] = d.report()
	}
	return list
}

func (d *database) report() Database {
	return Database{Path: d.path, Replica: d.store.String(), Status: d.ship.Status()}
}

// MarshalJSON is what PRAGMA walvfs_status returns.
func (d Database) MarshalJSON() ([]byte, error) {
	text := func(err error) string {
		if err == nil {
			return ""
		}
		return err.Error()
	}
	type tip struct {
		TXID string `json:"txid"`
		Time string `json:"time"` // RFC 3339
	}
	type lag struct {
		Seconds float64 `json:"seconds"`
		Commits int64   `json:"commits"`
		Pages   int64   `json:"pages"`
		Bytes   int64   `json:"bytes"`
	}
	type job struct {
		Name  string           `json:"name"`
		State shipper.JobState `json:"state"`
		At    string           `json:"at,omitempty"` // RFC 3339
		Error string           `json:"error,omitempty"`
	}
	v := struct {
		Path     string           `json:"path"`
		Replica  string           `json:"replica"`
		State    shipper.State    `json:"state"`
		Error    string           `json:"error,omitempty"`
		Kind     string           `json:"error_kind,omitempty"`
		Tip      *tip             `json:"tip,omitempty"`
		Lag      lag              `json:"lag"`
		Uploads  int64            `json:"uploads"`
		Bytes    int64            `json:"bytes"`
		Requests shipper.Requests `json:"requests"`
		Failures int64            `json:"failures"`
		Jobs     []job            `json:"jobs"`
		Levels   string           `json:"levels_error,omitempty"`
		Unfenced bool             `json:"unfenced,omitempty"`
	}{
		Path: d.Path, Replica: d.Replica, State: d.State, Error: text(d.Err),
		Lag:     lag{d.Lag.Seconds(), d.LagCommits, d.LagPages, d.LagBytes},
		Uploads: d.Uploads, Bytes: d.Bytes, Requests: d.Requests, Failures: d.Failures,
		Jobs: make([]job, len(d.Jobs)), Levels: text(d.LevelsErr), Unfenced: d.Unfenced,
	}
	for i, j := range d.Jobs {
		v.Jobs[i] = job{Name: j.Name, State: j.State, Error: text(j.Err)}
		if !j.At.IsZero() {
			v.Jobs[i].At = j.At.UTC().Format("2006-01-02T15:04:05.000Z07:00")
		}
	}
	if d.Err != nil {
		v.Kind = shipper.ErrorKind(d.Err)
	}
	if d.Tip.TXID > 0 {
		v.Tip = &tip{d.Tip.TXID.String(), d.Tip.Time.UTC().Format("2006-01-02T15:04:05.000Z07:00")}
	}
	return json.Marshal(v)
}

// An EventListener is told of events by the database's path, of those of one database
// one after another. Nothing waits for it, so that it may use the database. It must
// return soon: while it does not, events are dropped in the end.
type EventListener func(path string, e shipper.Event)

var listeners struct {
	mu   sync.Mutex
	list atomic.Pointer[[]*EventListener]
}

// Listen has a listener be told what happens to the databases of this process, until
// it is stopped.
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

// Shutdown has the replica of every database that is open in this process get what is
// committed by now, for a server that is about to end: then the last closes have
// nothing to wait for. It returns when all have it, or with what each lacks and why
// when ctx ends. It closes nothing.
func Shutdown(ctx context.Context) error {
	databases.mu.Lock()
	paths := make([]*database, 0, len(databases.byPath))
	for _, d := range databases.byPath {
		paths = append(paths, d)
	}
	databases.mu.Unlock()
	errs := make([]error, len(paths))
	var group errgroup.Group
	for i, d := range paths {
		group.Go(func() error {
			if d.nothingToShip() || d.allShipped() {
				return nil
			}
			if err := d.flush(ctx); err != nil {
				errs[i] = fmt.Errorf("walvfs: %s: %w", d.path, err)
			}
			return nil
		})
	}
	group.Wait()
	return errors.Join(errs...)
}
