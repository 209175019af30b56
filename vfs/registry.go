package vfs

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/ncruces/go-sqlite3/vfs"
)

// registry knows the databases that are open in this process. A database is
// identified by its file, not by its name.
type registry struct {
	mu        sync.Mutex
	byPath    map[string]*database
	byFile    map[fileID]*database
	byReplica map[string]*database
	opening   map[fileID]chan struct{} // closed when the database is there, or cannot be
}

var databases = registry{
	byPath:    map[string]*database{},
	byFile:    map[fileID]*database{},
	byReplica: map[string]*database{},
	opening:   map[fileID]chan struct{}{},
}

// find returns the open database of that path, nil if there is none.
func (r *registry) find(path string) *database {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.byPath[path]
}

// acquire returns the database of an open file, which gains a connection.
func (r *registry) acquire(v *replicated, path string, file vfs.File, cfg settings) (*database, error) {
	id, err := identify(path, file)
	if err != nil {
		return nil, err
	}
	for deadline := time.Now().Add(cfg.lockTimeout); ; {
		d, busy, err := r.join(path, id, cfg)
		if d == nil && busy == nil && err == nil {
			d, err = r.create(v, path, id, cfg)
		}
		switch {
		case busy != nil:
			<-busy // local work: a look at the WAL, a checkpoint, the page that a cut was reading
		case errors.Is(err, errLocked) && time.Now().Before(deadline):
			time.Sleep(lockPoll)
		default:
			return d, err
		}
	}
}

// join adds a connection to a database. It returns nothing if there is none: the
// caller must create it. One that is being opened or closed has to be done first.
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
		return nil, nil, fmt.Errorf("walvfs: %s is already open as %s: SQLite needs one name for a database", path, d.path)
	case d != nil && d.cfg.replica != cfg.replica:
		return nil, nil, fmt.Errorf("walvfs: %s is already open with another replica", path)
	case d != nil:
		d.refs++
		return d, nil, nil
	}
	if other := r.byPath[path]; other != nil {
		if other.closed != nil {
			return nil, other.closed, nil
		}
		return nil, nil, replaced(path)
	}
	r.opening[id] = make(chan struct{})
	return nil, nil, nil
}

func replaced(path string) error {
	return fmt.Errorf("walvfs: %s was replaced while it is open: close every connection to it first", path)
}

// create makes the database that join found missing, with one connection. It reads
// the WAL, which may take its time: others can open theirs meanwhile.
func (r *registry) create(v *replicated, path string, id fileID, cfg settings) (*database, error) {
	d, err := v.newDatabase(path, id, cfg)
	r.mu.Lock()
	defer r.mu.Unlock()
	close(r.opening[id])
	delete(r.opening, id)
	if err != nil {
		return nil, err
	}
	replica := d.store.String()
	if other := r.byReplica[replica]; other != nil {
		err = fmt.Errorf("walvfs: %s is already the replica of %s: each database needs its own", replica, other.path)
	} else if r.byPath[path] != nil {
		err = replaced(path)
	}
	if err != nil {
		d.discard()
		return nil, err
	}
	d.refs = 1
	r.byPath[path], r.byFile[id], r.byReplica[replica] = d, d, d
	return d, nil
}

// release takes a connection away. The last one's waits for the replica, up to
// close_timeout, and then ends replication, unless somebody has reopened the
// database, or another last one still waits.
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
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.byPath, d.path)
	delete(r.byFile, d.file)
	delete(r.byReplica, d.store.String())
	close(d.closed)
}

// closing returns what is closed when a database is gone, nil if it is not going.
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
