package vfs

import "sync"

// turns are of connections that look whether a database is to be restored, and then open
// it. Each path has one at a time: what the next one does depends on what it finds, and
// neither may replace a file that the other is about to open.
var turns = turnstile{taken: map[string]*turn{}}

type turnstile struct {
	mu    sync.Mutex
	taken map[string]*turn // by path
}

type turn struct {
	path string
	over chan struct{}
	err  error // why the database was not restored; to be read when it is over
}

// take waits for a turn. It fails with the error of the turn that it has waited for.
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

// put returns whose turn it is instead, nil if it is nobody's.
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
