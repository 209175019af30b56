package vfs

import "sync"

// turns serialise connections that may restore a database, and then open it. Each path
// has one turn at a time: the next connection's action depends on the file that it finds,
// and neither may replace a file that the other is about to open.
var turns = turnstile{taken: map[string]*turn{}}

type turnstile struct {
	mu    sync.Mutex
	taken map[string]*turn // by path
}

type turn struct {
	path string
	over chan struct{}
	err  error // why the database was not restored; read it after over is closed
}

// take waits for a turn. If it has waited for a turn that failed, it fails with the same
// error.
func (s *turnstile) take(path string) (*turn, error) {
	for mine := (&turn{path: path, over: make(chan struct{})}); ; {
		other := s.put(mine)
		if other == nil {
			return mine, nil
		}
		<-other.over
		if other.err != nil {
			return nil, other.err
		}
	}
}

// put takes a turn if the path is free. Otherwise it returns the current turn.
func (s *turnstile) put(mine *turn) (other *turn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if other = s.taken[mine.path]; other == nil {
		s.taken[mine.path] = mine
	}
	return other
}

func (s *turnstile) end(t *turn, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.taken, t.path)
	t.err = err
	close(t.over)
}
