package driver

import (
	"context"
	"io/fs"
	"sync"
)

// A Pool shares clients among stores with the same configuration, so that a process with
// ten thousand replicas in a bucket has one pool of connections and one cache of
// credentials. K is the client's complete configuration. It may hold secrets: a pool
// passes it only to the function that builds.
//
//	Lease     takes a share of a client that may not exist yet
//	Client    builds it, unless another share's owner did
//	End       gives the share back; the last End closes the client
//
// A client outlives the operation that needed it first, so it is built without that
// operation's context. If a build fails, only the callers that waited for it get its
// error: the next call builds again.
type Pool[K comparable, C any] struct {
	build func(K) (C, error)
	close func(C)

	mu      sync.Mutex // guards the following, and is not held while clients are built
	clients map[K]*shared[K, C]
}

// shared is a client with all its holders.
type shared[K comparable, C any] struct {
	pool *Pool[K, C]
	key  K

	holders int         // guarded by pool.mu: leases, and a running build
	built   *attempt[C] // guarded by pool.mu: nil before the first build, and after a failed one
}

// attempt is one build.
type attempt[C any] struct {
	done   chan struct{} // closed when the following fields are set
	client C
	err    error
}

// NewPool returns a pool of clients that these functions build and close.
func NewPool[K comparable, C any](build func(K) (C, error), close func(C)) *Pool[K, C] {
	return &Pool[K, C]{build: build, close: close, clients: map[K]*shared[K, C]{}}
}

// A Lease is one store's share of a client.
type Lease[K comparable, C any] struct {
	shared *shared[K, C]
	ended  bool // guarded by the pool's mu
}

// Lease takes a share of the client for a key. It builds nothing yet.
func (p *Pool[K, C]) Lease(key K) *Lease[K, C] {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := p.clients[key]
	if s == nil {
		s = &shared[K, C]{pool: p, key: key}
		p.clients[key] = s
	}
	s.holders++
	return &Lease[K, C]{shared: s}
}

// Client returns the client, after waiting for it to be built if necessary.
func (l *Lease[K, C]) Client(ctx context.Context) (C, error) {
	var none C
	a := l.attempt()
	if a == nil {
		return none, fs.ErrClosed
	}
	select {
	case <-a.done:
		return a.client, a.err
	case <-ctx.Done():
		return none, ctx.Err()
	}
}

// attempt returns the finished or running build, or starts one; nil after End.
func (l *Lease[K, C]) attempt() *attempt[C] {
	s := l.shared
	s.pool.mu.Lock()
	defer s.pool.mu.Unlock()
	if l.ended {
		return nil
	}
	if s.built == nil {
		s.built = &attempt[C]{done: make(chan struct{})}
		s.holders++ // if all others leave meanwhile, the client is still closed
		go s.build(s.built)
	}
	return s.built
}

func (s *shared[K, C]) build(a *attempt[C]) {
	a.client, a.err = s.pool.build(s.key)
	if a.err != nil {
		s.pool.mu.Lock()
		s.built = nil
		s.pool.mu.Unlock()
	}
	s.release() // before any caller has the client, so that their last End closes it
	close(a.done)
}

// End gives the share back. The last End closes the client. Further calls do nothing.
func (l *Lease[K, C]) End() {
	mu := &l.shared.pool.mu
	mu.Lock()
	ended := l.ended
	l.ended = true
	mu.Unlock()
	if !ended {
		l.shared.release()
	}
}

func (s *shared[K, C]) release() {
	p := s.pool
	p.mu.Lock()
	s.holders--
	last := s.holders == 0
	if last {
		delete(p.clients, s.key)
	}
	p.mu.Unlock()
	if last && s.built != nil { // no other goroutine can reach it any more
		p.close(s.built.client)
	}
}
