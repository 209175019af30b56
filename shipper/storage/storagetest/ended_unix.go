//go:build unix

package storagetest

import "syscall"

// ended reports whether the server's process has ended, without waiting for it in a
// goroutine, which would look like a leak to the tests.
func (s *server) ended() bool {
	var status syscall.WaitStatus
	pid, err := syscall.Wait4(s.cmd.Process.Pid, &status, syscall.WNOHANG, nil)
	return pid != 0 || err != nil && err != syscall.EINTR
}
