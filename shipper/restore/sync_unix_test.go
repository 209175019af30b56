//go:build unix

package restore

import "golang.org/x/sys/unix"

// quiet waits until the disk has written what came before a measurement.
func quiet() { unix.Sync() }
