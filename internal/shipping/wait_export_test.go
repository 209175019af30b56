package shipping

// Waiters returns how many callers wait for the replica.
func (s *Shipper) Waiters() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.waiters)
}
