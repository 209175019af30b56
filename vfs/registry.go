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
}

var databases = registry{
	byPath:    map[string]*database{},
	byFile:    map[fileID]*database{},
	byReplica: map[string]*database{},
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
		d, closing, err := r.join(v, path, id, cfg)
		switch {
		case closing != nil:
			<-closing // a local checkpoint, and the page that a cut was reading
		case errors.Is(err, errLocked) && time.Now().Before(deadline):
			time.Sleep(lockPoll)
		default:
			return d, err
		}
	}
}

// join adds a connection to a database, which it creates if need be. A database
// that is closing has to be gone first.
func (r *registry) join(v *replicated, path string, id fileID, cfg settings) (_ *database, closing chan struct{}, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
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
		return nil, nil, fmt.Errorf("walvfs: %s was replaced while it is open: close every connection to it first", path)
	}
	if d, err = v.newDatabase(path, id, cfg); err != nil {
		return nil, nil, err
	}
	replica := d.store.String()
	if other := r.byReplica[replica]; other != nil {
		d.store.Close()
		d.lock.Close()
		return nil, nil, fmt.Errorf("walvfs: %s is already the replica of %s: each database needs its own", replica, other.path)
	}
	d.refs = 1
	r.byPath[path], r.byFile[id], r.byReplica[replica] = d, d, d
	return d, nil, nil
}

// release takes a connection away. The last one's waits for the replica, up to
// close_timeout, and then ends replication, unless somebody has reopened the
// database, or another last one still waits.
func (r *registry) release(d *database) {
	if !r.leave(d) {
		return
	}
	d.drain()
	if !r.retire(d) {
		return
	}
	d.close()
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.byPath, d.path)
	delete(r.byFile, d.file)
	delete(r.byReplica, d.store.String())
	close(d.closed)
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
