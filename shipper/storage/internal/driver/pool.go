package driver

import (
	"context"
	"io/fs"
	"sync"
)

// A Pool shares clients among the stores that are configured alike, so that a
// process with ten thousand replicas in a bucket has one pool of connections and
// one cache of credentials. K is all that decides a client. It may hold secrets: a
// pool shows it to nobody but the function that builds.
//
//	Lease     takes a share, of a client that may not be there yet
//	Client    builds it, unless another share's owner did
//	End       gives the share back; the last one closes the client
//
// A client outlives the operation that needed it first, so it is built without that
// one's context. Only those who waited for a build that failed are told of it: the
// next who asks has it tried again.
type Pool[K comparable, C any] struct {
	build func(K) (C, error)
	close func(C)

	mu      sync.Mutex // guards the following, and is not held while clients are built
	clients map[K]*shared[K, C]
}

// shared is a client, and all who hold it.
type shared[K comparable, C any] struct {
	pool *Pool[K, C]
	key  K

	holders int         // guarded by pool.mu: leases, and a build under way
	built   *attempt[C] // guarded by pool.mu: nil before the first, and after one that failed
}

// attempt is one build.
type attempt[C any] struct {
	done   chan struct{} // closed when the following are set
	client C
	err    error
}

// NewPool returns a pool of clients that are built and closed by these functions.
func NewPool[K comparable, C any](build func(K) (C, error), close func(C)) *Pool[K, C] {
	return &Pool[K, C]{build: build, close: close, clients: map[K]*shared[K, C]{}}
}

// A Lease is one store's share in a client.
type Lease[K comparable, C any] struct {
	shared *shared[K, C]
	ended  bool // guarded by the pool's mu
}

// Lease takes a share in the client for a key. It builds nothing yet.
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

// Client returns the client, and waits for it if it has to be built.
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

// attempt returns the build that was or is under way, or starts one; nil after End.
func (l *Lease[K, C]) attempt() *attempt[C] {
	s := l.shared
	s.pool.mu.Lock()
	defer s.pool.mu.Unlock()
	if l.ended {
		return nil
	}
	if s.built == nil {
		s.built = &attempt[C]{done: make(chan struct{})}
		s.holders++ // should all others leave meanwhile, the client is closed all the same
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
	s.release() // before anybody has the client, so that their last End closes it
	close(a.done)
}

// End gives the share back. The last one closes the client. Ending twice is ending
// once.
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
	if last && s.built != nil { // nobody else can reach it any more
		p.close(s.built.client)
	}
}
