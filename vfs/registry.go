package vfs

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/ncruces/go-sqlite3/vfs"

	"github.com/walvfs/walvfs/shipper/storage"
)

// registry holds the databases that are open in this process. Their files identify them,
// not their names.
type registry struct {
	mu        sync.Mutex
	byPath    map[string]*database
	byFile    map[fileID]*database
	byReplica map[string]*database     // by [storage.Place]
	opening   map[fileID]chan struct{} // closed when the database is open, or cannot be opened
}

var databases = registry{
	byPath:    map[string]*database{},
	byFile:    map[fileID]*database{},
	byReplica: map[string]*database{},
	opening:   map[fileID]chan struct{}{},
}

// find returns the open database at a path, nil if there is none.
func (r *registry) find(path string) *database {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.byPath[path]
}

// isOpen reports whether a database is open. It waits for a database that is being
// closed.
func (r *registry) isOpen(path string) bool {
	for {
		d := r.find(path)
		if d == nil {
			return false
		}
		closed := r.closing(d)
		if closed == nil {
			return true
		}
		<-closed
	}
}

// acquire returns the database of an open file, and adds a connection to it.
func (r *registry) acquire(v *replicated, path string, file vfs.File, cfg settings) (*database, error) {
	id, err := identify(path, file)
	if err != nil {
		return nil, err
	}
	if d := r.find(path); d != nil && d.hasReplica(cfg) {
		cfg.replica = d.cfg.replica
	}
	for deadline := cfg.lockUntil(); ; {
		d, busy, err := r.join(path, id, cfg)
		if d == nil && busy == nil && err == nil {
			d, err = r.create(v, path, id, cfg)
		}
		switch {
		case busy != nil:
			<-busy // local work: a scan of the WAL, a checkpoint, the page that a cut was reading
		case errors.Is(err, errLocked) && time.Now().Before(deadline):
			time.Sleep(lockPoll)
		default:
			return d, err
		}
	}
}

// join adds a connection to a database. It returns nothing if the database is not open:
// the caller must create it. It returns busy if the database is being opened or closed:
// the caller must wait for that first.
func (r *registry) join(path string, id fileID, cfg settings) (_ *database, busy chan struct{}, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if opening := r.opening[id]; opening != nil {
		return nil, opening, nil
	}
	d := r.byFile[id]
	switch {
	case d != nil && d.closed != nil:
		return nil, d.closed, nil
	case d != nil && d.path != path:
		return nil, nil, fmt.Errorf("the file is already open as %s (open it by one name: SQLite names the -wal after the database)", d.path)
	case d != nil && d.cfg.replica != cfg.replica:
		return nil, nil, fmt.Errorf("the database is already open with another replica, %s (give all its connections the same replica)", d.store)
	case d != nil:
		if err := cfg.contradicts(d.cfg); err != nil {
			return nil, nil, err
		}
		d.refs++
		return d, nil, nil
	}
	if other := r.byPath[path]; other != nil {
		if other.closed != nil {
			return nil, other.closed, nil
		}
		return nil, nil, errReplaced
	}
	r.opening[id] = make(chan struct{})
	return nil, nil, nil
}

var errReplaced = errors.New("the file was replaced while it is open (close every connection to it first)")

// hasReplica reports whether settings name a database's replica, in any spelling.
func (d *database) hasReplica(cfg settings) bool {
	if d.cfg.replica == cfg.replica {
		return true
	}
	store, err := storage.Open(context.Background(), cfg.replica, cfg.storage)
	if err != nil {
		return false
	}
	defer store.Close()
	return storage.Place(store) == d.place
}

// create makes the database that join found missing, with one connection. It reads the
// WAL, which may take long: other databases can be opened meanwhile.
func (r *registry) create(v *replicated, path string, id fileID, cfg settings) (*database, error) {
	d, err := v.newDatabase(path, id, cfg)
	r.mu.Lock()
	defer r.mu.Unlock()
	close(r.opening[id])
	delete(r.opening, id)
	if err != nil {
		return nil, err
	}
	if other := r.byReplica[d.place]; other != nil {
		err = fmt.Errorf("%s is already the replica of %s (%s)", d.store, other.path, ownReplica(cfg))
	} else if r.byPath[path] != nil {
		err = errReplaced
	}
	if err != nil {
		d.discard()
		return nil, err
	}
	d.refs = 1
	r.byPath[path], r.byFile[id], r.byReplica[d.place] = d, d, d
	return d, nil
}

// ownReplica returns the remedy for two databases with one replica.
func ownReplica(cfg settings) string {
	if cfg.fromBase {
		return baseHint
	}
	return "give each database a replica URL of its own"
}

// release removes a connection. The release of the last connection waits for the replica,
// up to close_timeout, and then ends replication, unless the database was reopened, or
// another last release still waits.
func (r *registry) release(d *database) {
	if !r.leave(d) {
		return
	}
	err := d.drain()
	if !r.retire(d) {
		return
	}
	d.unshipped = err
	d.close()
	r.remove(d)
	d.calls.wait() // a program may be about to end
}

func (r *registry) remove(d *database) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.byPath, d.path)
	delete(r.byFile, d.file)
	delete(r.byReplica, d.place)
	close(d.closed)
}

// closing returns a channel that is closed when the database is closed, nil if the
// database is not being closed.
func (r *registry) closing(d *database) chan struct{} {
	r.mu.Lock()
	defer r.mu.Unlock()
	return d.closed
}

func (r *registry) leave(d *database) (last bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	d.refs--
	if d.refs > 0 {
		return false
	}
	d.draining++
	return true
}

func (r *registry) retire(d *database) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	d.draining--
	if d.refs > 0 || d.draining > 0 {
		return false
	}
	d.closed = make(chan struct{})
	return true
}
