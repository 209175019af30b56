//go:build !unix

package storagetest

func (s *server) ended() bool { return false }
