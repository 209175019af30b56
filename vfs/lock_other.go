//go:build !linux

package vfs

// A processLock does nothing here: only Linux has locks that survive when this process
// closes another descriptor of the file.
type processLock struct{}

func lockDatabase(string) (*processLock, error) { return nil, nil }

// Close does nothing.
func (*processLock) Close() error { return nil }
